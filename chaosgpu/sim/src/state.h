/* SPDX-License-Identifier: Apache-2.0 */
/* One process's view of the shared state: the mapping, the lock, and what a fork does to both. */
#ifndef CHAOSGPU_STATE_H
#define CHAOSGPU_STATE_H

#include "layout.h"

#define EXPORT __attribute__((visibility("default")))

/* A word that another process may change at any time. */
#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define STORE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)

struct session {
    struct state *state; /* NULL until opened */
    int lock_fd;
    int slot; /* our place in the table of clients, -1 for none */
};

extern struct session session;

/* Map the file named by CHAOSGPU_SIM_STATE; 0, or -1 when there is none that we understand. Opening twice is free. */
int session_open(void);
/* Map the file at `path`. */
int session_open_path(const char *path);
/* The child of a fork calls this first: the locks stay the parent's, and a place is to be taken anew. */
void session_forget(void);

void state_lock(void);
void state_unlock(void);
/* A setting was changed. */
void state_changed(void);

/* The driver's version that this library is of: the one it was built for, else the machine's own. */
const char *library_version(void);

uint64_t monotonic_ns(void);
/* Sleep until `deadline_ns` of the monotonic clock. */
void sleep_until(uint64_t deadline_ns);

#endif
