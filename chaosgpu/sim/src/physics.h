/* SPDX-License-Identifier: Apache-2.0 */
/* Load makes heat: clocks, power, temperature and their limits, computed when somebody looks. */
#ifndef CHAOSGPU_PHYSICS_H
#define CHAOSGPU_PHYSICS_H

#include "state.h"

#define REASON_IDLE 0x1ULL
#define REASON_LOCKED_CLOCKS 0x2ULL /* as ApplicationsClocksSetting: the limit that somebody set */
#define REASON_SW_POWER_CAP 0x4ULL
#define REASON_HW_SLOWDOWN 0x8ULL
#define REASON_SW_THERMAL 0x20ULL
#define REASON_HW_THERMAL 0x40ULL
#define REASON_POWER_BRAKE 0x80ULL
#define REASON_DISPLAY_CLOCKS 0x100ULL
#define REASON_ALL 0x1FFULL

#define LOAD_PERIOD_NS (1000000000ULL / 6)

/* Bring one GPU up to now and answer its condition; the state must be locked. */
struct physics physics_now(int gpu);
/* The same, locked by itself. */
struct physics physics_read(int gpu);
/* The SM clock at full load right now; the state must be locked. */
uint64_t physics_load_mhz(int gpu);
/* Drop the history: the GPU is cold and idle. */
void physics_reset(int gpu);
uint64_t physics_memory_mhz(const struct gpu *gpu, const struct physics *now);

#endif
