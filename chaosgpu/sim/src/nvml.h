/* SPDX-License-Identifier: Apache-2.0 */
/* The binary interface of NVML that we answer: return codes, structures, and the way into each call. */
#ifndef CHAOSGPU_NVML_H
#define CHAOSGPU_NVML_H

#include <stddef.h>

#include "clients.h"
#include "guard.h"
#include "state.h"

enum {
    NVML_SUCCESS = 0,
    NVML_UNINITIALIZED = 1,
    NVML_INVALID_ARGUMENT = 2,
    NVML_NOT_SUPPORTED = 3,
    NVML_NO_PERMISSION = 4,
    NVML_NOT_FOUND = 6,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_TIMEOUT = 10,
    NVML_FUNCTION_NOT_FOUND = 13,
    NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16,
    NVML_LIB_RM_VERSION_MISMATCH = 18,
    NVML_IN_USE = 19,
    NVML_MEMORY = 20,
    NVML_NO_DATA = 21,
    NVML_INSUFFICIENT_RESOURCES = 23,
    NVML_ARGUMENT_VERSION_MISMATCH = 25,
    NVML_UNKNOWN = 999,
};

typedef struct nvmlDevice *nvmlDevice_t;

struct nvml_pci_info {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct nvml_process {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
};

/* Calls about the whole machine: 0 or the code to return. */
int nvml_enter_system(enum function function);
/* Calls about one device; `gpu` gets it. */
int nvml_enter(enum function function, nvmlDevice_t device, struct gpu **gpu);
/* Settings ask for root; 0 or NO_PERMISSION. */
int nvml_need_root(void);

int nvml_gpu_index(const struct gpu *gpu);
nvmlDevice_t nvml_handle(int gpu);
/* GPU at the place in this process's own enumeration, or -1. */
int nvml_visible(unsigned index);
unsigned nvml_visible_count(void);
/* GPU by its PCI address, whatever the enumeration says, or -1. */
int nvml_gpu_by_pci(const struct nvml_pci_info *pci);
/* Copy a text out as NVML does. */
int nvml_text(const char *text, char *into, unsigned size);

#define ENTER_SYSTEM(name)                                                                                       \
    do {                                                                                                         \
        int refused_ = nvml_enter_system(FN_##name);                                                             \
        if (refused_ != NVML_SUCCESS)                                                                            \
            return refused_ == IGNORED ? NVML_SUCCESS : refused_;                                                \
    } while (0)

#define ENTER(name)                                                                                              \
    struct gpu *gpu;                                                                                             \
    do {                                                                                                         \
        int refused_ = nvml_enter(FN_##name, device, &gpu);                                                      \
        if (refused_ != NVML_SUCCESS)                                                                            \
            return refused_ == IGNORED ? NVML_SUCCESS : refused_;                                                \
    } while (0)

#define NEED(condition, code)                                                                                    \
    do {                                                                                                         \
        if (!(condition))                                                                                        \
            return (code);                                                                                       \
    } while (0)

#define NEED_ROOT()                                                                                              \
    do {                                                                                                         \
        int refused_ = nvml_need_root();                                                                         \
        if (refused_ != NVML_SUCCESS)                                                                            \
            return refused_;                                                                                     \
    } while (0)

#endif
