/* SPDX-License-Identifier: Apache-2.0 */
/* Modes: persistence, compute, ECC, MIG. */
#define _GNU_SOURCE
#include "nvml.h"

#define SET(field, value)                                                                                        \
    do {                                                                                                         \
        state_lock();                                                                                            \
        STORE(gpu->field, (uint64_t)(value));                                                                    \
        state_changed();                                                                                         \
        state_unlock();                                                                                          \
    } while (0)

EXPORT int nvmlDeviceGetPersistenceMode(nvmlDevice_t device, int *mode)
{
    ENTER(nvmlDeviceGetPersistenceMode);
    NEED(mode != NULL, NVML_INVALID_ARGUMENT);
    *mode = (int)LOAD(gpu->persistence_mode);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetPersistenceMode(nvmlDevice_t device, int mode)
{
    ENTER(nvmlDeviceSetPersistenceMode);
    NEED(mode == 0 || mode == 1, NVML_INVALID_ARGUMENT);
    NEED_ROOT();
    NEED(!LOAD(gpu->drain) || mode == 0, NVML_IN_USE);
    SET(persistence_mode, mode);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetComputeMode(nvmlDevice_t device, int *mode)
{
    ENTER(nvmlDeviceGetComputeMode);
    NEED(mode != NULL, NVML_INVALID_ARGUMENT);
    *mode = (int)LOAD(gpu->compute_mode);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetComputeMode(nvmlDevice_t device, int mode)
{
    ENTER(nvmlDeviceSetComputeMode);
    NEED(mode >= 0 && mode <= 3, NVML_INVALID_ARGUMENT);
    NEED(mode != 1, NVML_NOT_SUPPORTED); /* exclusive thread is gone since CUDA 8 */
    NEED_ROOT();
    SET(compute_mode, mode);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetEccMode(nvmlDevice_t device, int *current, int *pending)
{
    ENTER(nvmlDeviceGetEccMode);
    NEED(current != NULL && pending != NULL, NVML_INVALID_ARGUMENT);
    NEED(gpu->ecc_supported, NVML_NOT_SUPPORTED);
    *current = (int)LOAD(gpu->ecc_mode);
    *pending = (int)LOAD(gpu->ecc_pending);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetEccMode(nvmlDevice_t device, int mode)
{
    ENTER(nvmlDeviceSetEccMode);
    NEED(mode == 0 || mode == 1, NVML_INVALID_ARGUMENT);
    NEED(gpu->ecc_supported, NVML_NOT_SUPPORTED);
    NEED_ROOT();
    SET(ecc_pending, mode); /* counts after the next reset */
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending)
{
    ENTER(nvmlDeviceGetMigMode);
    NEED(current != NULL && pending != NULL, NVML_INVALID_ARGUMENT);
    NEED(gpu->mig_supported, NVML_NOT_SUPPORTED);
    *current = (unsigned)LOAD(gpu->mig_mode);
    *pending = (unsigned)LOAD(gpu->mig_pending);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetMigMode(nvmlDevice_t device, unsigned mode, int *activation)
{
    ENTER(nvmlDeviceSetMigMode);
    NEED(mode <= 1 && activation != NULL, NVML_INVALID_ARGUMENT);
    NEED(gpu->mig_supported, NVML_NOT_SUPPORTED);
    NEED_ROOT();
    state_lock();
    int busy = gpu_contexts(nvml_gpu_index(gpu)) > 0;
    *activation = busy ? NVML_IN_USE : NVML_SUCCESS;
    STORE(gpu->mig_pending, mode);
    if (!busy)
        STORE(gpu->mig_mode, mode); /* Ampere resets the idle GPU for it, later parts need not */
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count)
{
    ENTER(nvmlDeviceGetMaxMigDeviceCount);
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    *count = (unsigned)gpu->mig_max_devices;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *found)
{
    ENTER(nvmlDeviceGetMigDeviceHandleByIndex);
    NEED(found != NULL && index < gpu->mig_max_devices, NVML_INVALID_ARGUMENT);
    NEED(LOAD(gpu->mig_mode), NVML_NOT_SUPPORTED);
    return NVML_NOT_FOUND; /* no instances are made here */
}
