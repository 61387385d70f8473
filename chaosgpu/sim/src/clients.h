/* SPDX-License-Identifier: Apache-2.0 */
/* Who uses the GPUs. A client lives while the kernel holds its lock on one byte of the state file: pids are only shown. */
#ifndef CHAOSGPU_CLIENTS_H
#define CHAOSGPU_CLIENTS_H

#include "state.h"

/* All of these are called with the state locked. */

/* Take a place in the table; 0, or -1 when the table is full. */
int client_enter(int kind);
/* Give it back. */
void client_leave(void);
/* Forget the clients that are gone; the last one's leaving resets what no persistence keeps. */
void clients_reap(void);
int client_lives(int slot);
/* Bytes in use on one GPU by all who live, with memory that no process answers for. */
uint64_t gpu_used_bytes(int gpu);
/* Bytes in use by the clients of one cgroup. */
uint64_t cgroup_used_bytes(int gpu, const char *cgroup);
/* Processes with a context on the GPU. */
int gpu_contexts(int gpu);
/* What a GPU without persistence forgets when its last client leaves. */
void gpu_forget_settings(struct gpu *gpu);

static inline struct client *my_client(void)
{
    return &session.state->clients[session.slot];
}

#endif
