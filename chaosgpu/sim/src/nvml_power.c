/* SPDX-License-Identifier: Apache-2.0 */
/* Power, energy, utilisation, and how long something held the clocks down. */
#define _GNU_SOURCE
#include "nvml.h"

#include <time.h>

#include "physics.h"

EXPORT int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned *milliwatts)
{
    ENTER(nvmlDeviceGetPowerUsage);
    NEED(milliwatts != NULL, NVML_INVALID_ARGUMENT);
    *milliwatts = (unsigned)physics_read(nvml_gpu_index(gpu)).power_mw;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules)
{
    ENTER(nvmlDeviceGetTotalEnergyConsumption);
    NEED(millijoules != NULL, NVML_INVALID_ARGUMENT);
    *millijoules = (unsigned long long)physics_read(nvml_gpu_index(gpu)).energy_mj;
    return NVML_SUCCESS;
}

#define WORD(function, expression)                                                                               \
    EXPORT int function(nvmlDevice_t device, unsigned *value)                                                    \
    {                                                                                                            \
        ENTER(function);                                                                                         \
        NEED(value != NULL, NVML_INVALID_ARGUMENT);                                                              \
        *value = (unsigned)(expression);                                                                         \
        return NVML_SUCCESS;                                                                                     \
    }

WORD(nvmlDeviceGetPowerManagementLimit, LOAD(gpu->power_limit_mw))
WORD(nvmlDeviceGetEnforcedPowerLimit, LOAD(gpu->power_limit_mw))
WORD(nvmlDeviceGetPowerManagementDefaultLimit, gpu->power_default_mw)

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned *low, unsigned *high)
{
    ENTER(nvmlDeviceGetPowerManagementLimitConstraints);
    NEED(low != NULL && high != NULL, NVML_INVALID_ARGUMENT);
    *low = (unsigned)gpu->power_min_mw;
    *high = (unsigned)gpu->power_max_mw;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetPowerManagementLimit(nvmlDevice_t device, unsigned milliwatts)
{
    ENTER(nvmlDeviceSetPowerManagementLimit);
    NEED_ROOT();
    NEED(milliwatts >= gpu->power_min_mw && milliwatts <= gpu->power_max_mw, NVML_INVALID_ARGUMENT);
    state_lock();
    physics_now(nvml_gpu_index(gpu)); /* what was until now, was under the old limit */
    STORE(gpu->power_limit_mw, milliwatts);
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

struct utilization {
    unsigned gpu, memory;
};

EXPORT int nvmlDeviceGetUtilizationRates(nvmlDevice_t device, struct utilization *rates)
{
    ENTER(nvmlDeviceGetUtilizationRates);
    NEED(rates != NULL, NVML_INVALID_ARGUMENT);
    double busy = physics_read(nvml_gpu_index(gpu)).utilization;
    rates->gpu = (unsigned)(busy * 100 + 0.5);
    rates->memory = (unsigned)(busy * 5 + 0.5); /* kernels of this kind hardly touch memory */
    return NVML_SUCCESS;
}

struct process_sample {
    unsigned pid;
    unsigned long long at_us;
    unsigned sm, memory, encoder, decoder;
};

/* The real one counts in microseconds of the wall clock. */
static uint64_t wall_clock_ahead_ns(void)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (uint64_t)wall.tv_sec * 1000000000ULL + (uint64_t)wall.tv_nsec - monotonic_ns();
}

/* The newest sample since a time in which the process may have run: NULL where there is none. Of all since then comes
 * the mean, as from the real one: also of what other processes did before this one began. */
static const struct load_sample *newest_load(const struct physics *now, uint64_t since_ns, uint64_t ran_until_ns,
                                             double *mean)
{
    const struct load_sample *newest = NULL;
    double sum = 0, count = 0;
    uint64_t first = now->load_head > LOAD_SAMPLES ? now->load_head - LOAD_SAMPLES : 0;
    for (uint64_t number = first; number < now->load_head; number++) {
        const struct load_sample *sample = &now->loads[number % LOAD_SAMPLES];
        if (sample->end_ns <= since_ns || sample->end_ns - LOAD_PERIOD_NS >= ran_until_ns)
            continue;
        newest = sample;
        sum += sample->load;
        count++;
    }
    *mean = count > 0 ? sum / count : 0;
    return newest;
}

EXPORT int nvmlDeviceGetProcessUtilization(nvmlDevice_t device, struct process_sample *samples, unsigned *count,
                                           unsigned long long since_us)
{
    ENTER(nvmlDeviceGetProcessUtilization);
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    struct state *state = session.state;
    int index = nvml_gpu_index(gpu);
    unsigned found = 0;
    uint64_t ahead_ns = wall_clock_ahead_ns(), since_ns = 0;
    if (since_us * 1000 > ahead_ns)
        since_ns = since_us * 1000 - ahead_ns + LOAD_PERIOD_NS / 2; /* the clocks are not read in one instant */
    state_lock();
    struct physics now = physics_now(index);
    for (int slot = 0; slot < (int)state->clients_high; slot++) {
        struct client *client = &state->clients[slot];
        struct usage *usage = &client->gpus[index];
        if (!LOAD(client->used) || !LOAD(usage->context_bytes) || !client_lives(slot))
            continue;
        double mean;
        const struct load_sample *newest = newest_load(&now, since_ns, LOAD(usage->busy_until_ns), &mean);
        if (newest == NULL)
            continue;
        if (samples != NULL && found < *count)
            samples[found] = (struct process_sample){.pid = (unsigned)client->pid,
                                                     .at_us = (newest->end_ns + ahead_ns) / 1000,
                                                     .sm = (unsigned)(mean * 100 + 0.5)};
        found++;
    }
    state_unlock();
    int fits = samples != NULL && found <= *count;
    *count = found;
    if (found == 0)
        return NVML_NOT_FOUND; /* as the real one when nothing has run since */
    return fits ? NVML_SUCCESS : NVML_INSUFFICIENT_SIZE;
}

struct violation {
    unsigned long long at_us, ns;
};

EXPORT int nvmlDeviceGetViolationStatus(nvmlDevice_t device, int policy, struct violation *violation)
{
    ENTER(nvmlDeviceGetViolationStatus);
    NEED(violation != NULL && policy >= 0 && policy < 12, NVML_INVALID_ARGUMENT);
    struct physics now = physics_read(nvml_gpu_index(gpu));
    violation->at_us = (now.at_ns + wall_clock_ahead_ns()) / 1000;
    switch (policy) {
    case 0: /* power */
        violation->ns = (unsigned long long)now.violation_ns[POLICY_POWER];
        return NVML_SUCCESS;
    case 1: /* thermal */
        violation->ns =
            (unsigned long long)(now.violation_ns[POLICY_SW_THERMAL] + now.violation_ns[POLICY_HW_THERMAL]);
        return NVML_SUCCESS;
    case 2: /* sync boost */
    case 3: /* board limit */
    case 4: /* low utilisation */
    case 5: /* reliability */
        violation->ns = 0;
        return NVML_SUCCESS;
    case 10: /* below the applications' clocks */
    case 11: /* below the base clocks */
        return NVML_NOT_SUPPORTED;
    default:
        return NVML_INVALID_ARGUMENT;
    }
}
