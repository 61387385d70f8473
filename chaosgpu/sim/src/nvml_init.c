/* SPDX-License-Identifier: Apache-2.0 */
/* Start, end, and the way into every other call. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "nvml.h"

struct nvmlDevice {
    int gpu;
};

static struct nvmlDevice handles[MAX_GPUS];
static int visible[MAX_GPUS]; /* the enumeration as it was when this process initialised */
static unsigned visible_count;
static int initialised;
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;

static void in_child(void)
{
    session_forget();
    pthread_mutex_init(&starting, NULL);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

EXPORT const char *chaosgpuSimInstance(void)
{
    return guard_instance();
}

static int open_nodes(void)
{
    switch (guard_open_node("nvidiactl", 1)) {
    case 0:
        return NVML_SUCCESS;
    case ENOENT:
    case ENXIO:
        return NVML_DRIVER_NOT_LOADED;
    case EACCES:
        return NVML_NO_PERMISSION;
    default: /* EPERM, what a cgroup that denies the device gives */
        return NVML_UNKNOWN;
    }
}

static int start(void)
{
    if (session_open() != 0)
        return NVML_DRIVER_NOT_LOADED;
    struct state *state = session.state;
    guard_hang(FN_nvmlInitWithFlags);
    if (!LOAD(state->driver_loaded))
        return NVML_DRIVER_NOT_LOADED;
    if (LOAD(state->forced[FN_nvmlInitWithFlags]))
        return LOAD(state->forced[FN_nvmlInitWithFlags]);
    if (strcmp(library_version(), state->kernel_driver_version) != 0)
        return NVML_LIB_RM_VERSION_MISMATCH;
    int refused = open_nodes();
    if (refused != NVML_SUCCESS)
        return refused;
    state_lock();
    int full = client_enter(CLIENT_NVML);
    visible_count = 0;
    for (int i = 0; i < (int)state->gpu_count; i++) {
        handles[i].gpu = i;
        if (!state->gpus[i].drain && !state->gpus[i].removed)
            visible[visible_count++] = i;
    }
    state_unlock();
    if (full != 0) {
        guard_close_nodes();
        return NVML_INSUFFICIENT_RESOURCES;
    }
    for (unsigned i = 0; i < visible_count; i++)
        guard_open_gpu_node(visible[i], 1);
    return NVML_SUCCESS;
}

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&starting);
    int result = NVML_SUCCESS;
    if (initialised == 0 || session.slot < 0)
        result = start();
    if (result == NVML_SUCCESS)
        initialised++;
    pthread_mutex_unlock(&starting);
    return result;
}

EXPORT int nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT int nvmlInit(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT int nvmlShutdown(void)
{
    ENTER_SYSTEM(nvmlShutdown);
    pthread_mutex_lock(&starting);
    if (initialised > 0 && --initialised == 0) {
        state_lock();
        client_leave();
        state_unlock();
        guard_close_nodes();
    }
    pthread_mutex_unlock(&starting);
    return NVML_SUCCESS;
}

/* After a fork the child has the parent's handles and no place of its own. */
static int rejoin(void)
{
    pthread_mutex_lock(&starting);
    int result = 0;
    if (session.slot < 0) {
        result = session_open();
        if (result == 0) {
            state_lock();
            result = client_enter(CLIENT_NVML);
            state_unlock();
        }
    }
    pthread_mutex_unlock(&starting);
    return result;
}

int nvml_enter_system(enum function function)
{
    if (initialised == 0)
        return NVML_UNINITIALIZED;
    if (session.slot < 0 && rejoin() != 0)
        return NVML_UNKNOWN;
    guard_hang(function);
    if (!LOAD(session.state->driver_loaded))
        return NVML_DRIVER_NOT_LOADED;
    return LOAD(session.state->forced[function]);
}

static int is_setter(enum function function)
{
    switch (function) {
    case FN_nvmlDeviceSetPowerManagementLimit:
    case FN_nvmlDeviceSetGpuLockedClocks:
    case FN_nvmlDeviceResetGpuLockedClocks:
    case FN_nvmlDeviceSetMemoryLockedClocks:
    case FN_nvmlDeviceResetMemoryLockedClocks:
    case FN_nvmlDeviceSetComputeMode:
    case FN_nvmlDeviceSetMigMode:
    case FN_nvmlDeviceSetMemoryLimits_v1:
        return 1;
    default:
        return 0;
    }
}

int nvml_enter(enum function function, nvmlDevice_t device, struct gpu **gpu)
{
    int refused = nvml_enter_system(function);
    if (refused != NVML_SUCCESS)
        return refused;
    if (device < &handles[0] || device >= &handles[MAX_GPUS])
        return NVML_INVALID_ARGUMENT;
    int index = (int)(device - &handles[0]);
    if ((uint64_t)index >= session.state->gpu_count)
        return NVML_INVALID_ARGUMENT;
    *gpu = &session.state->gpus[index];
    if (LOAD((*gpu)->lost) || LOAD((*gpu)->removed))
        return NVML_GPU_IS_LOST;
    if (LOAD((*gpu)->not_supported[function]))
        return NVML_NOT_SUPPORTED;
    if (LOAD((*gpu)->reset_required) && is_setter(function))
        return NVML_RESET_REQUIRED;
    return LOAD((*gpu)->forced[function]);
}

int nvml_need_root(void)
{
    return guard_is_root() ? NVML_SUCCESS : NVML_NO_PERMISSION;
}

int nvml_gpu_index(const struct gpu *gpu)
{
    return (int)(gpu - session.state->gpus);
}

nvmlDevice_t nvml_handle(int gpu)
{
    return &handles[gpu];
}

int nvml_visible(unsigned index)
{
    return index < visible_count ? visible[index] : -1;
}

unsigned nvml_visible_count(void)
{
    return visible_count;
}

int nvml_gpu_by_pci(const struct nvml_pci_info *pci)
{
    for (int i = 0; i < (int)session.state->gpu_count; i++)
        if (session.state->gpus[i].pci_domain == pci->domain && session.state->gpus[i].pci_bus == pci->bus
            && pci->device == 0)
            return i;
    return -1;
}

int nvml_text(const char *text, char *into, unsigned size)
{
    if (into == NULL)
        return NVML_INVALID_ARGUMENT;
    if (strlen(text) >= size)
        return NVML_INSUFFICIENT_SIZE;
    strcpy(into, text);
    return NVML_SUCCESS;
}
