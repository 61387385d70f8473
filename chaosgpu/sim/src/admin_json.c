/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "admin_json.h"

#include <string.h>

#include "clients.h"
#include "physics.h"

#define ROW_U(name, kind) {#name, #kind, 'U', offsetof(struct HERE, name), 1},
#define ROW_I(name, kind) {#name, #kind, 'I', offsetof(struct HERE, name), 1},
#define ROW_D(name, kind) {#name, #kind, 'D', offsetof(struct HERE, name), 1},
#define ROW_S(name, bytes, kind) {#name, #kind, 'S', offsetof(struct HERE, name), bytes},
#define ROW_A(name, words, kind) {#name, #kind, 'A', offsetof(struct HERE, name), words},

#define HERE state
struct field system_fields[] = {SYSTEM_FIELDS(ROW_U, ROW_I, ROW_D, ROW_S, ROW_A){NULL, NULL, 0, 0, 0}};
#undef HERE
#define HERE gpu
struct field gpu_fields[] = {GPU_FIELDS(ROW_U, ROW_I, ROW_D, ROW_S, ROW_A){NULL, NULL, 0, 0, 0}};
#undef HERE

static void write_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 32)
            fprintf(out, "\\u%04x", (unsigned char)*text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void write_field(FILE *out, const struct field *field, const char *at)
{
    const uint64_t *words = (const uint64_t *)(const void *)at;
    double number;
    switch (field->type) {
    case 'S':
        write_text(out, at);
        break;
    case 'D':
        memcpy(&number, at, sizeof number);
        fprintf(out, "%.6g", number);
        break;
    case 'I':
        fprintf(out, "%lld", (long long)*words);
        break;
    case 'U':
        fprintf(out, "%llu", (unsigned long long)*words);
        break;
    default:
        for (size_t i = 0; i < field->count; i++)
            fprintf(out, "%s%llu", i ? "," : "[", (unsigned long long)words[i]);
        fputc(']', out);
    }
}

/* "identity": {...}, "setting": {...} and so on, by the kind of field. */
static void write_fields(FILE *out, const struct field *fields, const char *base)
{
    static const char *const kinds[] = {"IDENTITY", "SETTING", "FAULT", "COUNTER"};
    static const char *const names[] = {"identity", "settings", "faults", "counters"};
    for (size_t kind = 0; kind < 4; kind++) {
        int first = 1;
        fprintf(out, "%s\"%s\":{", kind ? "," : "", names[kind]);
        for (const struct field *field = fields; field->name != NULL; field++) {
            if (strcmp(field->kind, kinds[kind]) != 0)
                continue;
            fprintf(out, "%s\"%s\":", first ? "" : ",", field->name);
            write_field(out, field, base + field->offset);
            first = 0;
        }
        fputc('}', out);
    }
}

static void write_readings(FILE *out, int index)
{
    struct gpu *gpu = &session.state->gpus[index];
    struct physics now = physics_now(index);
    fprintf(out,
            "\"readings\":{\"used_mib\":%llu,\"sm_mhz\":%llu,\"memory_mhz\":%llu,\"utilization_percent\":%.1f,"
            "\"power_mw\":%.0f,\"temperature_celsius\":%.2f,\"event_reasons\":%llu,\"energy_mj\":%.0f}",
            (unsigned long long)(gpu_used_bytes(index) / MIB), (unsigned long long)now.sm_mhz,
            (unsigned long long)physics_memory_mhz(gpu, &now), now.utilization * 100, now.power_mw, now.celsius,
            (unsigned long long)now.event_reasons, now.energy_mj);
}

static void write_processes(FILE *out, int index)
{
    struct state *state = session.state;
    int first = 1;
    fputs("\"processes\":[", out);
    for (int slot = 0; slot < (int)state->clients_high; slot++) {
        struct client *client = &state->clients[slot];
        struct usage *usage = &client->gpus[index];
        if (!LOAD(client->used) || !LOAD(usage->context_bytes) || !client_lives(slot))
            continue;
        fprintf(out, "%s{\"pid\":%lld,\"context_bytes\":%llu,\"allocated_bytes\":%llu,\"name\":", first ? "" : ",",
                (long long)client->pid, (unsigned long long)usage->context_bytes,
                (unsigned long long)usage->allocated_bytes);
        write_text(out, client->name);
        fputc('}', out);
        first = 0;
    }
    fputc(']', out);
}

static void write_limits(FILE *out, const struct gpu *gpu)
{
    int first = 1;
    fputs("\"memory_limits\":[", out);
    for (int i = 0; i < MAX_MEMORY_LIMITS; i++) {
        if (!gpu->limits[i].used)
            continue;
        fprintf(out, "%s{\"soft\":%llu,\"hard\":%llu,\"cgroup\":", first ? "" : ",",
                (unsigned long long)gpu->limits[i].soft, (unsigned long long)gpu->limits[i].hard);
        write_text(out, gpu->limits[i].cgroup);
        fputc('}', out);
        first = 0;
    }
    fputc(']', out);
}

static void write_functions(FILE *out, const char *key, const uint16_t *codes, const char *const *names)
{
    int first = 1;
    fprintf(out, "\"%s\":{", key);
    for (int i = 0; i < FN_COUNT; i++) {
        if (codes[i] == 0)
            continue;
        fprintf(out, "%s\"%s\":%u", first ? "" : ",", names[i], codes[i]);
        first = 0;
    }
    fputc('}', out);
}

static void write_hangs(FILE *out, const char *const *names)
{
    int first = 1;
    fputs("\"hang_ms\":{", out);
    for (int i = 0; i < FN_COUNT; i++) {
        if (session.state->hang_ms[i] == 0)
            continue;
        fprintf(out, "%s\"%s\":%u", first ? "" : ",", names[i], session.state->hang_ms[i]);
        first = 0;
    }
    fputc('}', out);
}

void write_state(FILE *out, const char *const *function_names)
{
    struct state *state = session.state;
    int living = 0;
    for (int slot = 0; slot < (int)state->clients_high; slot++)
        living += LOAD(state->clients[slot].used) && client_lives(slot);
    fprintf(out, "{\"generation\":%llu,\"clients\":%d,\"events\":%llu,\"system\":{",
            (unsigned long long)state->generation, living, (unsigned long long)state->event_head);
    write_fields(out, system_fields, (const char *)state);
    fputc(',', out);
    write_functions(out, "forced", state->forced, function_names);
    fputc(',', out);
    write_hangs(out, function_names);
    fputs("},\"gpus\":[", out);
    for (int i = 0; i < (int)state->gpu_count; i++) {
        fputs(i ? ",{" : "{", out);
        write_fields(out, gpu_fields, (const char *)&state->gpus[i]);
        fputc(',', out);
        write_readings(out, i);
        fputc(',', out);
        write_processes(out, i);
        fputc(',', out);
        write_limits(out, &state->gpus[i]);
        fputc(',', out);
        write_functions(out, "not_supported", state->gpus[i].not_supported, function_names);
        fputc(',', out);
        write_functions(out, "forced", state->gpus[i].forced, function_names);
        fputc('}', out);
    }
    fputs("]}", out);
}
