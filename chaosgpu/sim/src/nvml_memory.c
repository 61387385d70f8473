/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, the processes that hold it, and limits by cgroup. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "nvml.h"

#define MEMORY_V2 0x02000028u
#define NO_LIMIT 0xFFFFFFFFFFFFFFFFull

struct memory_info {
    unsigned long long total, free, used;
};

struct memory_info_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

static struct memory_info_v2 measure(struct gpu *gpu)
{
    struct memory_info_v2 info;
    info.total = gpu->memory_total_mib * MIB;
    info.reserved = gpu->memory_reserved_mib * MIB;
    state_lock();
    info.used = gpu_used_bytes(nvml_gpu_index(gpu));
    state_unlock();
    info.free = info.total - info.reserved > info.used ? info.total - info.reserved - info.used : 0;
    return info;
}

EXPORT int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, struct memory_info *memory)
{
    ENTER(nvmlDeviceGetMemoryInfo);
    NEED(memory != NULL, NVML_INVALID_ARGUMENT);
    struct memory_info_v2 info = measure(gpu);
    memory->total = info.total;
    memory->free = info.free;
    memory->used = info.total - info.free; /* the first version counts what is reserved as used */
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, struct memory_info_v2 *memory)
{
    ENTER(nvmlDeviceGetMemoryInfo_v2);
    NEED(memory != NULL, NVML_INVALID_ARGUMENT);
    NEED(memory->version == MEMORY_V2, NVML_ARGUMENT_VERSION_MISMATCH);
    struct memory_info_v2 info = measure(gpu);
    info.version = MEMORY_V2;
    *memory = info;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, struct memory_info *memory)
{
    ENTER(nvmlDeviceGetBAR1MemoryInfo);
    NEED(memory != NULL, NVML_INVALID_ARGUMENT);
    memory->total = gpu->bar1_mib * MIB;
    state_lock();
    memory->used = (unsigned long long)(1 + gpu_contexts(nvml_gpu_index(gpu))) * MIB;
    state_unlock();
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, struct nvml_process *infos)
{
    ENTER(nvmlDeviceGetComputeRunningProcesses_v3);
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    struct state *state = session.state;
    int index = nvml_gpu_index(gpu);
    unsigned found = 0;
    state_lock();
    for (int slot = 0; slot < (int)state->clients_high; slot++) {
        struct client *client = &state->clients[slot];
        struct usage *usage = &client->gpus[index];
        if (!LOAD(client->used) || !LOAD(usage->context_bytes) || !client_lives(slot))
            continue;
        if (infos != NULL && found < *count) {
            infos[found].pid = (unsigned)client->pid;
            infos[found].used_memory = usage->context_bytes + usage->allocated_bytes;
            infos[found].gpu_instance = infos[found].compute_instance = 0xFFFFFFFFu;
        }
        found++;
    }
    state_unlock();
    int fits = found == 0 || (infos != NULL && found <= *count);
    *count = found;
    return fits ? NVML_SUCCESS : NVML_INSUFFICIENT_SIZE;
}

static int nobody(unsigned *count)
{
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    *count = 0; /* no display and no MPS server here */
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned *count, struct nvml_process *infos)
{
    ENTER(nvmlDeviceGetGraphicsRunningProcesses_v3);
    (void)infos;
    return nobody(count);
}

EXPORT int nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, struct nvml_process *infos)
{
    ENTER(nvmlDeviceGetMPSComputeRunningProcesses_v3);
    (void)infos;
    return nobody(count);
}

struct set_limits {
    const char *cgroup;
    unsigned long long soft, hard;
};

struct get_limits {
    const char *cgroup;
    unsigned long long soft, hard, used;
};

static struct memory_limit *find_limit(struct gpu *gpu, const char *cgroup)
{
    for (int i = 0; i < MAX_MEMORY_LIMITS; i++)
        if (gpu->limits[i].used && strcmp(gpu->limits[i].cgroup, cgroup) == 0)
            return &gpu->limits[i];
    return NULL;
}

EXPORT int nvmlDeviceSetMemoryLimits_v1(nvmlDevice_t device, const struct set_limits *wanted)
{
    ENTER(nvmlDeviceSetMemoryLimits_v1);
    NEED(wanted != NULL && wanted->cgroup != NULL && wanted->cgroup[0] == '/', NVML_INVALID_ARGUMENT);
    NEED(strlen(wanted->cgroup) < sizeof gpu->limits[0].cgroup, NVML_INVALID_ARGUMENT);
    NEED(wanted->soft <= wanted->hard, NVML_INVALID_ARGUMENT);
    NEED(!gpu->mig_mode, NVML_NOT_SUPPORTED);
    NEED_ROOT();
    int result = NVML_SUCCESS;
    state_lock();
    struct memory_limit *limit = find_limit(gpu, wanted->cgroup);
    if (wanted->soft == 0 && wanted->hard == NO_LIMIT) {
        if (limit != NULL)
            STORE(limit->used, 0);
    } else {
        for (int i = 0; limit == NULL && i < MAX_MEMORY_LIMITS; i++)
            if (!gpu->limits[i].used)
                limit = &gpu->limits[i];
        if (limit == NULL) {
            result = NVML_INSUFFICIENT_RESOURCES;
        } else {
            limit->soft = wanted->soft;
            limit->hard = wanted->hard;
            strcpy(limit->cgroup, wanted->cgroup);
            STORE(limit->used, 1);
        }
    }
    state_changed();
    state_unlock();
    return result;
}

EXPORT int nvmlDeviceGetMemoryLimits_v1(nvmlDevice_t device, struct get_limits *limits)
{
    ENTER(nvmlDeviceGetMemoryLimits_v1);
    NEED(limits != NULL && limits->cgroup != NULL, NVML_INVALID_ARGUMENT);
    NEED(!gpu->mig_mode, NVML_NOT_SUPPORTED);
    state_lock();
    struct memory_limit *limit = find_limit(gpu, limits->cgroup);
    limits->soft = limit ? limit->soft : 0;
    limits->hard = limit ? limit->hard : NO_LIMIT;
    limits->used = cgroup_used_bytes(nvml_gpu_index(gpu), limits->cgroup);
    state_unlock();
    return NVML_SUCCESS;
}
