/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: what runs, what may run, what was locked. */
#define _GNU_SOURCE
#include "nvml.h"
#include "physics.h"

enum { GRAPHICS, SM, MEM, VIDEO };
#define TDP_CLOCK 0xffffff01u
#define UNLIMITED_CLOCK 0xffffff02u

EXPORT int nvmlDeviceGetClockInfo(nvmlDevice_t device, int kind, unsigned *mhz)
{
    ENTER(nvmlDeviceGetClockInfo);
    NEED(mhz != NULL && kind >= GRAPHICS && kind <= VIDEO, NVML_INVALID_ARGUMENT);
    struct physics now = physics_read(nvml_gpu_index(gpu));
    if (kind == MEM)
        *mhz = (unsigned)physics_memory_mhz(gpu, &now);
    else if (kind == VIDEO)
        *mhz = (unsigned)(gpu->video_max_mhz * now.sm_mhz / gpu->sm_max_mhz);
    else
        *mhz = (unsigned)now.sm_mhz;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, int kind, unsigned *mhz)
{
    ENTER(nvmlDeviceGetMaxClockInfo);
    NEED(mhz != NULL && kind >= GRAPHICS && kind <= VIDEO, NVML_INVALID_ARGUMENT);
    *mhz = (unsigned)(kind == MEM ? gpu->memory_clocks_mhz[0] : kind == VIDEO ? gpu->video_max_mhz : gpu->sm_max_mhz);
    return NVML_SUCCESS;
}

static unsigned memory_clock_count(const struct gpu *gpu)
{
    unsigned count = 0;
    while (count < sizeof gpu->memory_clocks_mhz / sizeof gpu->memory_clocks_mhz[0] && gpu->memory_clocks_mhz[count])
        count++;
    return count;
}

EXPORT int nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned *count, unsigned *clocks)
{
    ENTER(nvmlDeviceGetSupportedMemoryClocks);
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    unsigned have = memory_clock_count(gpu), fits = clocks != NULL && have <= *count;
    for (unsigned i = 0; fits && i < have; i++)
        clocks[i] = (unsigned)gpu->memory_clocks_mhz[i];
    *count = have;
    return fits ? NVML_SUCCESS : NVML_INSUFFICIENT_SIZE;
}

EXPORT int nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned memory_mhz, unsigned *count,
                                                unsigned *clocks)
{
    ENTER(nvmlDeviceGetSupportedGraphicsClocks);
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    unsigned known = 0;
    for (unsigned i = 0; i < memory_clock_count(gpu); i++)
        known |= gpu->memory_clocks_mhz[i] == memory_mhz;
    NEED(known, NVML_NOT_FOUND);
    unsigned have = (unsigned)((gpu->sm_max_mhz - gpu->sm_min_mhz) / gpu->sm_step_mhz) + 1;
    unsigned fits = clocks != NULL && have <= *count;
    for (unsigned i = 0; fits && i < have; i++)
        clocks[i] = (unsigned)(gpu->sm_max_mhz - i * gpu->sm_step_mhz);
    *count = have;
    return fits ? NVML_SUCCESS : NVML_INSUFFICIENT_SIZE;
}

/* Locks clamp to what the part can do, as the driver's do; a range upside down is refused. */
static int lock(struct gpu *gpu, uint64_t *low, uint64_t *high, unsigned from, unsigned to, uint64_t part_low,
                uint64_t part_high)
{
    NEED_ROOT();
    NEED(from <= to && to > 0, NVML_INVALID_ARGUMENT);
    state_lock();
    physics_now(nvml_gpu_index(gpu)); /* what was until now, was under the old lock */
    STORE(*low, from < part_low ? part_low : from > part_high ? part_high : from);
    STORE(*high, to < part_low ? part_low : to > part_high ? part_high : to); /* a lock counts by its upper bound */
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

static int unlock(struct gpu *gpu, uint64_t *low, uint64_t *high)
{
    NEED_ROOT();
    state_lock();
    physics_now(nvml_gpu_index(gpu));
    STORE(*high, 0);
    STORE(*low, 0);
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetGpuLockedClocks(nvmlDevice_t device, unsigned from, unsigned to)
{
    ENTER(nvmlDeviceSetGpuLockedClocks);
    if (to == UNLIMITED_CLOCK || to == TDP_CLOCK)
        to = (unsigned)gpu->sm_max_mhz;
    if (from == TDP_CLOCK)
        from = (unsigned)gpu->sm_max_mhz;
    NEED(to < 0xffffff00u && from < 0xffffff00u, NVML_INVALID_ARGUMENT);
    return lock(gpu, &gpu->sm_lock_min_mhz, &gpu->sm_lock_max_mhz, from, to, gpu->sm_min_mhz, gpu->sm_max_mhz);
}

EXPORT int nvmlDeviceResetGpuLockedClocks(nvmlDevice_t device)
{
    ENTER(nvmlDeviceResetGpuLockedClocks);
    return unlock(gpu, &gpu->sm_lock_min_mhz, &gpu->sm_lock_max_mhz);
}

EXPORT int nvmlDeviceSetMemoryLockedClocks(nvmlDevice_t device, unsigned from, unsigned to)
{
    ENTER(nvmlDeviceSetMemoryLockedClocks);
    uint64_t lowest = gpu->memory_clocks_mhz[memory_clock_count(gpu) - 1];
    return lock(gpu, &gpu->memory_lock_min_mhz, &gpu->memory_lock_max_mhz, from, to, lowest,
                gpu->memory_clocks_mhz[0]);
}

EXPORT int nvmlDeviceResetMemoryLockedClocks(nvmlDevice_t device)
{
    ENTER(nvmlDeviceResetMemoryLockedClocks);
    return unlock(gpu, &gpu->memory_lock_min_mhz, &gpu->memory_lock_max_mhz);
}

EXPORT int nvmlDeviceGetPerformanceState(nvmlDevice_t device, int *state)
{
    ENTER(nvmlDeviceGetPerformanceState);
    NEED(state != NULL, NVML_INVALID_ARGUMENT);
    int idle = (physics_read(nvml_gpu_index(gpu)).event_reasons & REASON_IDLE) != 0;
    *state = (int)(idle ? gpu->pstate_idle : gpu->pstate_load);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons)
{
    ENTER(nvmlDeviceGetCurrentClocksEventReasons);
    NEED(reasons != NULL, NVML_INVALID_ARGUMENT);
    *reasons = physics_read(nvml_gpu_index(gpu)).event_reasons;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons)
{
    return nvmlDeviceGetCurrentClocksEventReasons(device, reasons);
}

EXPORT int nvmlDeviceGetSupportedClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons)
{
    ENTER(nvmlDeviceGetSupportedClocksEventReasons);
    NEED(reasons != NULL, NVML_INVALID_ARGUMENT);
    *reasons = REASON_ALL;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetSupportedClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons)
{
    return nvmlDeviceGetSupportedClocksEventReasons(device, reasons);
}
