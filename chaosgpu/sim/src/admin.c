/* SPDX-License-Identifier: Apache-2.0 */
/* How the simulator itself looks at and changes a state file, for chaosgpu.sim.instance through ctypes.
 *
 * Every call opens the file named, works under its lock and closes it again; answers are 0 or a negative number. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin_json.h"
#include "clients.h"
#include "events.h"
#include "physics.h"

enum { BAD_FILE = -1, NO_FIELD = -2, BAD_VALUE = -3, NO_GPU = -4, NO_FUNCTION = -5 };

static const char *const function_names[] = {
#define FUNCTION_NAME(name) #name,
    NVML_FUNCTIONS(FUNCTION_NAME) CUDA_FUNCTIONS(FUNCTION_NAME)
#undef FUNCTION_NAME
};

static int begin(const char *path)
{
    if (session_open_path(path) != 0)
        return BAD_FILE;
    state_lock();
    return 0;
}

static void end(void)
{
    state_unlock();
    munmap(session.state, sizeof(struct state));
    session.state = NULL;
    close(session.lock_fd);
    session_forget();
}

/* A new file with `gpus` GPUs whose fields are all zero; it counts once sim_finish was called. */
EXPORT int sim_create(const char *path, int gpus)
{
    if (gpus < 1 || gpus > MAX_GPUS)
        return NO_GPU;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return BAD_FILE;
    struct {
        uint64_t magic, version, size, generation, gpu_count;
    } head = {STATE_MAGIC, STATE_VERSION, sizeof(struct state), 1, (uint64_t)gpus};
    int whole = ftruncate(fd, sizeof(struct state)) == 0 && fchmod(fd, 0666) == 0
                && pwrite(fd, &head, sizeof head, 0) == (ssize_t)sizeof head;
    close(fd);
    return whole ? 0 : BAD_FILE;
}

static struct field *find_field(int gpu, const char *name, char **base)
{
    *base = gpu < 0 ? (char *)session.state : (char *)&session.state->gpus[gpu];
    for (struct field *field = gpu < 0 ? system_fields : gpu_fields; field->name != NULL; field++)
        if (strcmp(field->name, name) == 0)
            return field;
    return NULL;
}

static int parse(const struct field *field, char *at, const char *text)
{
    char *rest;
    errno = 0;
    switch (field->type) {
    case 'S':
        if (strlen(text) >= field->count)
            return BAD_VALUE;
        strcpy(at, text);
        return 0;
    case 'D': {
        double value = strtod(text, &rest);
        if (*text == '\0' || *rest != '\0' || errno != 0)
            return BAD_VALUE;
        memcpy(at, &value, sizeof value);
        return 0;
    }
    default: {
        uint64_t *words = (uint64_t *)(void *)at;
        for (size_t i = 0; i < field->count; i++) {
            long long value = strtoll(text, &rest, 10);
            if (rest == text || errno != 0 || (value < 0 && field->type != 'I'))
                return BAD_VALUE;
            STORE(words[i], (uint64_t)value);
            if (*rest == '\0')
                return 0; /* a shorter list leaves the rest as it is */
            if (*rest != ',' || field->type != 'A')
                return BAD_VALUE;
            text = rest + 1;
        }
        return BAD_VALUE;
    }
    }
}

/* Set one field of one GPU, or with gpu -1 of the system; arrays are numbers with commas between them. */
EXPORT int sim_set(const char *path, int gpu, const char *name, const char *text)
{
    int result = begin(path);
    if (result != 0)
        return result;
    char *base;
    if (gpu >= (int)session.state->gpu_count) {
        result = NO_GPU;
    } else {
        clients_reap();
        if (gpu >= 0 && session.state->instance[0] != '\0')
            physics_now(gpu); /* what was until now, was under the old setting */
        struct field *field = find_field(gpu, name, &base);
        result = field == NULL ? NO_FIELD : parse(field, base + field->offset, text);
        state_changed();
    }
    end();
    return result;
}

static int find_function(const char *name)
{
    for (int i = 0; i < FN_COUNT; i++)
        if (strcmp(function_names[i], name) == 0)
            return i;
    return NO_FUNCTION;
}

/* What a function does on request: "hang" (value in ms), "return" (a code), "not_supported" (0 or 1); "*" is all. */
EXPORT int sim_function(const char *path, int gpu, const char *name, const char *what, unsigned value)
{
    int only = strcmp(name, "*") == 0 ? -1 : find_function(name);
    if (only == NO_FUNCTION)
        return NO_FUNCTION;
    int result = begin(path);
    if (result != 0)
        return result;
    if (gpu >= (int)session.state->gpu_count) {
        end();
        return NO_GPU;
    }
    struct gpu *record = gpu < 0 ? NULL : &session.state->gpus[gpu];
    for (int i = only < 0 ? 0 : only; i <= (only < 0 ? FN_COUNT - 1 : only); i++) {
        if (strcmp(what, "hang") == 0)
            STORE(session.state->hang_ms[i], value);
        else if (strcmp(what, "return") == 0 && record == NULL)
            STORE(session.state->forced[i], (uint16_t)value);
        else if (strcmp(what, "return") == 0)
            STORE(record->forced[i], (uint16_t)value);
        else if (strcmp(what, "not_supported") == 0 && record != NULL)
            STORE(record->not_supported[i], (uint16_t)value);
        else
            result = BAD_VALUE;
    }
    end();
    return result;
}

EXPORT int sim_xid(const char *path, int gpu, unsigned xid, unsigned pid, const char *process)
{
    int result = begin(path);
    if (result != 0)
        return result;
    if (gpu < 0 || gpu >= (int)session.state->gpu_count)
        result = NO_GPU;
    else
        event_xid(gpu, xid, pid, process);
    end();
    return result;
}

EXPORT int sim_event(const char *path, int gpu, unsigned long long type, unsigned long long data)
{
    int result = begin(path);
    if (result != 0)
        return result;
    if (gpu < 0 || gpu >= (int)session.state->gpu_count)
        result = NO_GPU;
    else
        event_post(gpu, type, data);
    end();
    return result;
}

/* A GPU reset: pending modes count, volatile counters and the settings are gone, a lost GPU is back. */
EXPORT int sim_reset(const char *path, int index)
{
    int result = begin(path);
    if (result != 0)
        return result;
    if (index < 0 || index >= (int)session.state->gpu_count) {
        result = NO_GPU;
    } else {
        struct gpu *gpu = &session.state->gpus[index];
        gpu_forget_settings(gpu);
        gpu->ecc_mode = gpu->ecc_pending;
        gpu->mig_mode = gpu->mig_pending;
        memset(gpu->ecc_volatile_corrected, 0, sizeof gpu->ecc_volatile_corrected);
        memset(gpu->ecc_volatile_uncorrected, 0, sizeof gpu->ecc_volatile_uncorrected);
        gpu->lost = gpu->removed = gpu->reset_required = gpu->recovery_action = gpu->remap_pending = 0;
        physics_reset(index);
        state_changed();
    }
    end();
    return result;
}

/* Everything as one JSON document, to be freed with sim_free; NULL when the file cannot be read. */
EXPORT char *sim_show(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    if (begin(path) != 0)
        return NULL;
    clients_reap();
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        write_state(out, function_names);
        fclose(out);
    }
    end();
    return text;
}

EXPORT void sim_free(char *text)
{
    free(text);
}
