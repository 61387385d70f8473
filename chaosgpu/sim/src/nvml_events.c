/* SPDX-License-Identifier: Apache-2.0 */
/* Event sets: each gets every event once, from its registration on. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "nvml.h"

#define OLDER (0x1ULL | EVENT_DOUBLE_BIT_ECC | 0x4ULL | EVENT_XID | EVENT_CLOCK | EVENT_RECOVERY_ACTION)
#define SUPPORTED 0xFF9FULL /* as an H100 says */
#define HOPPER 9

struct event_set {
    uint64_t types[MAX_GPUS];
    uint64_t next;
};
typedef struct event_set *nvmlEventSet_t;

struct event_data {
    nvmlDevice_t device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

EXPORT int nvmlEventSetCreate(nvmlEventSet_t *set)
{
    ENTER_SYSTEM(nvmlEventSetCreate);
    NEED(set != NULL, NVML_INVALID_ARGUMENT);
    *set = calloc(1, sizeof **set);
    NEED(*set != NULL, NVML_MEMORY);
    (*set)->next = LOAD(session.state->event_head);
    return NVML_SUCCESS;
}

static unsigned long long supported(const struct gpu *gpu)
{
    return gpu->architecture >= HOPPER ? SUPPORTED : OLDER;
}

EXPORT int nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
    ENTER(nvmlDeviceGetSupportedEventTypes);
    NEED(types != NULL, NVML_INVALID_ARGUMENT);
    *types = supported(gpu);
    if (!gpu->ecc_supported)
        *types &= ~(0x1ULL | EVENT_DOUBLE_BIT_ECC);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
    ENTER(nvmlDeviceRegisterEvents);
    NEED(set != NULL, NVML_INVALID_ARGUMENT);
    NEED((types & ~supported(gpu)) == 0, NVML_NOT_SUPPORTED);
    int first = 1;
    for (int i = 0; i < MAX_GPUS; i++)
        first &= set->types[i] == 0;
    if (first)
        set->next = LOAD(session.state->event_head); /* what was before is not delivered */
    set->types[nvml_gpu_index(gpu)] |= types;
    return NVML_SUCCESS;
}

static int take(nvmlEventSet_t set, struct event_data *data)
{
    struct state *state = session.state;
    uint64_t head = LOAD(state->event_head);
    if (head > MAX_EVENTS && set->next < head - MAX_EVENTS)
        set->next = head - MAX_EVENTS; /* the ring has gone over it */
    while (set->next < head) {
        struct event event = state->events[set->next % MAX_EVENTS];
        set->next++;
        if (event.gpu >= MAX_GPUS || !(set->types[event.gpu] & event.type))
            continue;
        memset(data, 0, sizeof *data);
        data->device = nvml_handle((int)event.gpu);
        data->type = event.type;
        data->data = event.data;
        data->gpu_instance = data->compute_instance = 0xFFFFFFFFu;
        return 1;
    }
    return 0;
}

EXPORT int nvmlEventSetWait_v2(nvmlEventSet_t set, struct event_data *data, unsigned timeout_ms)
{
    ENTER_SYSTEM(nvmlEventSetWait_v2);
    NEED(set != NULL && data != NULL, NVML_INVALID_ARGUMENT);
    uint64_t deadline = monotonic_ns() + timeout_ms * 1000000ULL;
    for (;;) {
        if (take(set, data))
            return NVML_SUCCESS;
        if (monotonic_ns() >= deadline)
            return NVML_TIMEOUT;
        event_wait(set->next, deadline);
    }
}

EXPORT int nvmlEventSetWait(nvmlEventSet_t set, struct event_data *data, unsigned timeout_ms)
{
    return nvmlEventSetWait_v2(set, data, timeout_ms);
}

EXPORT int nvmlEventSetFree(nvmlEventSet_t set)
{
    ENTER_SYSTEM(nvmlEventSetFree);
    NEED(set != NULL, NVML_INVALID_ARGUMENT);
    free(set);
    return NVML_SUCCESS;
}
