/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver tells: a ring of events for NVML, and lines for the kernel log. */
#ifndef CHAOSGPU_EVENTS_H
#define CHAOSGPU_EVENTS_H

#include "state.h"

#define EVENT_DOUBLE_BIT_ECC 0x2ULL
#define EVENT_XID 0x8ULL
#define EVENT_CLOCK 0x10ULL
#define EVENT_RECOVERY_ACTION 0x8000ULL

/* Both are called with the state locked. */
void event_post(int gpu, uint64_t type, uint64_t data);
/* An Xid: the event, the counter and, where a kernel log is configured, its line. */
void event_xid(int gpu, unsigned xid, unsigned pid, const char *process);
/* Sleep until there is an event after `seen` or the time is over; not called under the lock. */
void event_wait(uint64_t seen, uint64_t deadline_ns);

#endif
