/* SPDX-License-Identifier: Apache-2.0 */
/* What every call passes on its way in: calls told to hang or to fail, and the device nodes. */
#ifndef CHAOSGPU_GUARD_H
#define CHAOSGPU_GUARD_H

#include "state.h"

/* Wait here while the function is told to hang. */
void guard_hang(enum function function);
/* Whether the caller counts as root: by the state's word, else by its own user id. */
int guard_is_root(void);
/* Open a device node below the configured folder: 0, or the errno. `keep` holds it open until the process ends. */
int guard_open_node(const char *node, int keep);
int guard_open_gpu_node(int gpu, int keep);
/* Let go of the nodes that were kept open. */
void guard_close_nodes(void);
/* Which id the state answers to; both libraries export it. */
const char *guard_instance(void);

#endif
