/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "clients.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int slot_lock(int slot, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = LOCK_CLIENT(slot), .l_len = 1};
    return fcntl(session.lock_fd, F_OFD_SETLK, &lock);
}

int client_lives(int slot)
{
    if (slot == session.slot)
        return 1;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_CLIENT(slot), .l_len = 1};
    /* An answer that we cannot have is not a death. */
    return fcntl(session.lock_fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

void gpu_forget_settings(struct gpu *gpu)
{
    gpu->power_limit_mw = gpu->power_default_mw;
    gpu->sm_lock_min_mhz = gpu->sm_lock_max_mhz = 0;
    gpu->memory_lock_min_mhz = gpu->memory_lock_max_mhz = 0;
    gpu->compute_mode = 0;
    gpu->fan_manual_percent = 0;
    gpu->acoustic_celsius = gpu->acoustic_max_celsius;
    for (int i = 0; i < MAX_MEMORY_LIMITS; i++)
        STORE(gpu->limits[i].used, 0);
}

void clients_reap(void)
{
    struct state *state = session.state;
    int high = (int)LOAD(state->clients_high);
    int living = 0;
    for (int slot = 0; slot < high; slot++) {
        if (!LOAD(state->clients[slot].used))
            continue;
        if (client_lives(slot))
            living++;
        else
            STORE(state->clients[slot].used, 0);
    }
    if (living > 0 || !LOAD(state->had_clients))
        return;
    for (uint64_t i = 0; i < state->gpu_count; i++)
        if (!state->gpus[i].persistence_mode)
            gpu_forget_settings(&state->gpus[i]);
    STORE(state->had_clients, 0); /* last: a death in between only repeats the reset */
    state_changed();
}

static void read_own(const char *path, char *into, size_t size)
{
    into[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, into, size - 1);
    close(fd);
    into[got > 0 ? got : 0] = '\0';
}

static void describe_self(struct client *client)
{
    char text[1024];
    read_own("/proc/self/cmdline", text, sizeof text);
    snprintf(client->name, sizeof client->name, "%.255s", text);
    read_own("/proc/self/cgroup", text, sizeof text);
    char *unified = strstr(text, "0::");
    client->cgroup[0] = '\0';
    if (unified != NULL) {
        unified[strcspn(unified, "\n")] = '\0';
        snprintf(client->cgroup, sizeof client->cgroup, "%.511s", unified + 3);
    }
}

int client_enter(int kind)
{
    struct state *state = session.state;
    if (session.slot >= 0)
        return 0;
    clients_reap();
    for (int slot = 0; slot < MAX_CLIENTS; slot++) {
        struct client *client = &state->clients[slot];
        if (LOAD(client->used) || slot_lock(slot, F_WRLCK) != 0)
            continue;
        memset(client, 0, sizeof *client);
        client->kind = (uint64_t)kind;
        client->pid = getpid();
        describe_self(client);
        if (LOAD(state->clients_high) <= (uint64_t)slot)
            STORE(state->clients_high, (uint64_t)slot + 1);
        STORE(state->had_clients, 1);
        STORE(client->used, 1);
        session.slot = slot;
        return 0;
    }
    return -1;
}

void client_leave(void)
{
    if (session.slot < 0)
        return;
    STORE(my_client()->used, 0);
    slot_lock(session.slot, F_UNLCK);
    session.slot = -1;
    clients_reap();
}

uint64_t gpu_used_bytes(int gpu)
{
    struct state *state = session.state;
    uint64_t sum = LOAD(state->gpus[gpu].foreign_used_mib) * MIB;
    int high = (int)LOAD(state->clients_high);
    for (int slot = 0; slot < high; slot++) {
        struct client *client = &state->clients[slot];
        uint64_t bytes = LOAD(client->gpus[gpu].context_bytes) + LOAD(client->gpus[gpu].allocated_bytes);
        if (bytes != 0 && LOAD(client->used) && client_lives(slot))
            sum += bytes;
    }
    return sum;
}

uint64_t cgroup_used_bytes(int gpu, const char *cgroup)
{
    struct state *state = session.state;
    uint64_t sum = 0;
    size_t length = strlen(cgroup);
    int high = (int)LOAD(state->clients_high);
    for (int slot = 0; slot < high; slot++) {
        struct client *client = &state->clients[slot];
        if (!LOAD(client->used) || strncmp(client->cgroup, cgroup, length) != 0)
            continue;
        if (client->cgroup[length] != '\0' && client->cgroup[length] != '/' && length > 1)
            continue;
        if (client_lives(slot))
            sum += client->gpus[gpu].context_bytes + client->gpus[gpu].allocated_bytes;
    }
    return sum;
}

int gpu_contexts(int gpu)
{
    struct state *state = session.state;
    int contexts = 0;
    int high = (int)LOAD(state->clients_high);
    for (int slot = 0; slot < high; slot++)
        if (LOAD(state->clients[slot].used) && LOAD(state->clients[slot].gpus[gpu].context_bytes) && client_lives(slot))
            contexts++;
    return contexts;
}
