/* SPDX-License-Identifier: Apache-2.0 */
/* Power, energy, utilisation, and how long something held the clocks down. */
#define _GNU_SOURCE
#include "nvml.h"
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

EXPORT int nvmlDeviceGetProcessUtilization(nvmlDevice_t device, struct process_sample *samples, unsigned *count,
                                           unsigned long long since_us)
{
    ENTER(nvmlDeviceGetProcessUtilization);
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    struct state *state = session.state;
    int index = nvml_gpu_index(gpu);
    unsigned found = 0;
    state_lock();
    struct physics now = physics_now(index);
    uint64_t at_us = now.at_ns / 1000;
    for (int slot = 0; slot < (int)state->clients_high; slot++) {
        struct client *client = &state->clients[slot];
        struct usage *usage = &client->gpus[index];
        if (!LOAD(client->used) || !LOAD(usage->context_bytes) || !client_lives(slot) || at_us <= since_us)
            continue;
        if (samples != NULL && found < *count) {
            struct process_sample sample = {.pid = (unsigned)client->pid, .at_us = at_us};
            if (LOAD(usage->busy_until_ns) + 1000000000ULL > now.at_ns)
                sample.sm = (unsigned)(now.utilization * 100 + 0.5);
            samples[found] = sample;
        }
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
    violation->at_us = now.at_ns / 1000;
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
    default:
        return NVML_NOT_SUPPORTED;
    }
}
