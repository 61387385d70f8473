/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs that are drained, taken away and found again. Named by PCI address: a drained GPU has no index. */
#define _GNU_SOURCE
#include "nvml.h"

static int find(enum function function, const struct nvml_pci_info *pci, struct gpu **gpu)
{
    int refused = nvml_enter_system(function);
    if (refused != NVML_SUCCESS)
        return refused;
    NEED(pci != NULL, NVML_INVALID_ARGUMENT);
    int index = nvml_gpu_by_pci(pci);
    NEED(index >= 0, NVML_NOT_FOUND);
    *gpu = &session.state->gpus[index];
    NEED(!(*gpu)->not_supported[function], NVML_NOT_SUPPORTED);
    return LOAD((*gpu)->forced[function]);
}

#define FIND(name)                                                                                               \
    struct gpu *gpu;                                                                                             \
    do {                                                                                                         \
        int refused_ = find(FN_##name, pci, &gpu);                                                               \
        if (refused_ != NVML_SUCCESS)                                                                            \
            return refused_ == IGNORED ? NVML_SUCCESS : refused_;                                                \
    } while (0)

EXPORT int nvmlDeviceModifyDrainState(struct nvml_pci_info *pci, int drain)
{
    FIND(nvmlDeviceModifyDrainState);
    NEED(drain == 0 || drain == 1, NVML_INVALID_ARGUMENT);
    NEED_ROOT();
    NEED(!drain || !LOAD(gpu->persistence_mode), NVML_IN_USE);
    state_lock();
    STORE(gpu->drain, (uint64_t)drain);
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceQueryDrainState(struct nvml_pci_info *pci, int *drain)
{
    FIND(nvmlDeviceQueryDrainState);
    NEED(drain != NULL, NVML_INVALID_ARGUMENT);
    *drain = (int)LOAD(gpu->drain);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceRemoveGpu(struct nvml_pci_info *pci)
{
    FIND(nvmlDeviceRemoveGpu);
    NEED_ROOT();
    state_lock();
    int free_to_go = LOAD(gpu->drain) && gpu_contexts(nvml_gpu_index(gpu)) == 0;
    if (free_to_go)
        STORE(gpu->removed, 1);
    state_changed();
    state_unlock();
    return free_to_go ? NVML_SUCCESS : NVML_IN_USE;
}

EXPORT int nvmlDeviceDiscoverGpus(struct nvml_pci_info *pci)
{
    ENTER_SYSTEM(nvmlDeviceDiscoverGpus);
    NEED(pci != NULL, NVML_INVALID_ARGUMENT);
    NEED_ROOT();
    state_lock();
    for (int i = 0; i < (int)session.state->gpu_count; i++) {
        struct gpu *gpu = &session.state->gpus[i];
        if (!gpu->removed)
            continue;
        gpu_forget_settings(gpu); /* a GPU found anew starts with its defaults */
        STORE(gpu->drain, 0);
        STORE(gpu->removed, 0);
    }
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}
