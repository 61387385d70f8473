/* SPDX-License-Identifier: Apache-2.0 */
/* What a device says about itself. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "cuda.h"

#define DEVICE(name)                                                                                             \
    struct gpu *gpu;                                                                                             \
    CUDA_ENTER(name);                                                                                            \
    do {                                                                                                         \
        int index_ = cuda_gpu(device);                                                                           \
        if (index_ < 0)                                                                                          \
            return CUDA_INVALID_DEVICE;                                                                          \
        gpu = &session.state->gpus[index_];                                                                      \
    } while (0)

EXPORT int cuDeviceGetName(char *name, int length, CUdevice device)
{
    DEVICE(cuDeviceGetName);
    NEED(name != NULL && length > 0, CUDA_INVALID_VALUE);
    snprintf(name, (size_t)length, "%s", gpu->name);
    return CUDA_SUCCESS;
}

EXPORT int cuDeviceGetUuid_v2(unsigned char uuid[16], CUdevice device)
{
    DEVICE(cuDeviceGetUuid_v2);
    NEED(uuid != NULL, CUDA_INVALID_VALUE);
    const char *text = gpu->uuid + 4; /* after "GPU-" */
    for (int i = 0; i < 16; i++) {
        unsigned byte = 0;
        text += *text == '-';
        NEED(sscanf(text, "%2x", &byte) == 1, CUDA_UNKNOWN);
        uuid[i] = (unsigned char)byte;
        text += 2;
    }
    return CUDA_SUCCESS;
}

EXPORT int cuDeviceGetUuid(unsigned char uuid[16], CUdevice device)
{
    return cuDeviceGetUuid_v2(uuid, device);
}

EXPORT int cuDeviceGetPCIBusId(char *text, int length, CUdevice device)
{
    DEVICE(cuDeviceGetPCIBusId);
    NEED(text != NULL && length > 12, CUDA_INVALID_VALUE);
    snprintf(text, (size_t)length, "%04X:%02X:00.0", (unsigned)gpu->pci_domain, (unsigned)gpu->pci_bus);
    return CUDA_SUCCESS;
}

EXPORT int cuDeviceGetByPCIBusId(CUdevice *device, const char *text)
{
    CUDA_ENTER(cuDeviceGetByPCIBusId);
    NEED(device != NULL && text != NULL, CUDA_INVALID_VALUE);
    unsigned domain = 0, bus = 0, slot = 0;
    if (sscanf(text, "%x:%x:%x", &domain, &bus, &slot) != 3) {
        domain = 0;
        NEED(sscanf(text, "%x:%x", &bus, &slot) == 2, CUDA_INVALID_VALUE);
    }
    for (int i = 0; i < cuda_device_count(); i++) {
        struct gpu *gpu = &session.state->gpus[cuda_gpu(i)];
        if (gpu->pci_domain == domain && gpu->pci_bus == bus && slot == 0) {
            *device = i;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_INVALID_DEVICE;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    DEVICE(cuDeviceTotalMem_v2);
    NEED(bytes != NULL, CUDA_INVALID_VALUE);
    *bytes = (gpu->memory_total_mib - gpu->memory_reserved_mib) * MIB;
    return CUDA_SUCCESS;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    DEVICE(cuDeviceGetAttribute);
    NEED(value != NULL, CUDA_INVALID_VALUE);
    switch (attribute) {
    case 1: /* MAX_THREADS_PER_BLOCK */
    case 2: /* MAX_BLOCK_DIM_X */
    case 3: /* MAX_BLOCK_DIM_Y */
        *value = 1024;
        break;
    case 4: /* MAX_BLOCK_DIM_Z */
        *value = 64;
        break;
    case 5: /* MAX_GRID_DIM_X */
        *value = 2147483647;
        break;
    case 6: /* MAX_GRID_DIM_Y */
    case 7: /* MAX_GRID_DIM_Z */
        *value = 65535;
        break;
    case 10: /* WARP_SIZE */
        *value = 32;
        break;
    case 13: /* CLOCK_RATE, kHz */
        *value = (int)gpu->sm_max_mhz * 1000;
        break;
    case 16: /* MULTIPROCESSOR_COUNT */
        *value = (int)gpu->sm_count;
        break;
    case 20: /* COMPUTE_MODE */
        *value = (int)LOAD(gpu->compute_mode);
        break;
    case 31: /* CONCURRENT_KERNELS */
    case 41: /* UNIFIED_ADDRESSING */
        *value = 1;
        break;
    case 32: /* ECC_ENABLED */
        *value = (int)LOAD(gpu->ecc_mode);
        break;
    case 33: /* PCI_BUS_ID */
        *value = (int)gpu->pci_bus;
        break;
    case 36: /* MEMORY_CLOCK_RATE, kHz */
        *value = (int)gpu->memory_clocks_mhz[0] * 1000;
        break;
    case 50: /* PCI_DOMAIN_ID */
        *value = (int)gpu->pci_domain;
        break;
    case 75: /* COMPUTE_CAPABILITY_MAJOR */
        *value = (int)gpu->compute_major;
        break;
    case 76: /* COMPUTE_CAPABILITY_MINOR */
        *value = (int)gpu->compute_minor;
        break;
    case 18: /* INTEGRATED */
    case 34: /* PCI_DEVICE_ID */
    case 83: /* MANAGED_MEMORY: none here */
        *value = 0;
        break;
    default:
        return attribute > 0 && attribute < 160 ? (*value = 0, CUDA_SUCCESS) : CUDA_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}
