/* SPDX-License-Identifier: Apache-2.0 */
/* cuInit, the devices, and the way into every other call. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cuda.h"

static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
static int ordinals[MAX_GPUS];
static int device_count;
static int initialised;
static int forked; /* CUDA does not survive a fork */
static int sticky; /* the error that spoilt this process */

static void in_child(void)
{
    session_forget();
    pthread_mutex_init(&own, NULL);
    if (initialised)
        forked = 1;
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

EXPORT const char *chaosgpuSimInstance(void)
{
    return guard_instance();
}

void cuda_lock(void)
{
    pthread_mutex_lock(&own);
}

void cuda_unlock(void)
{
    pthread_mutex_unlock(&own);
}

static void add_device(int gpu)
{
    struct gpu *record = &session.state->gpus[gpu];
    for (int i = 0; i < device_count; i++)
        if (ordinals[i] == gpu)
            return;
    if (record->drain || record->removed || guard_open_gpu_node(gpu, 1) != 0)
        return;
    ordinals[device_count++] = gpu;
}

/* One entry of CUDA_VISIBLE_DEVICES: an index or the start of a UUID; -1 ends the list, as with the real driver. */
static int named_device(const char *entry, size_t length)
{
    char text[64];
    if (length == 0 || length >= sizeof text)
        return -1;
    memcpy(text, entry, length);
    text[length] = '\0';
    if (strncasecmp(text, "GPU-", 4) == 0) {
        for (int i = 0; i < (int)session.state->gpu_count; i++)
            if (strncasecmp(session.state->gpus[i].uuid, text, length) == 0)
                return i;
        return -1;
    }
    char *end;
    long wanted = strtol(text, &end, 10);
    if (*end != '\0' || wanted < 0)
        return -1;
    for (int i = 0; i < (int)session.state->gpu_count; i++) {
        if (session.state->gpus[i].drain || session.state->gpus[i].removed)
            continue;
        if (wanted-- == 0)
            return i;
    }
    return -1;
}

static void enumerate(void)
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    device_count = 0;
    if (list == NULL) {
        for (int i = 0; i < (int)session.state->gpu_count; i++)
            add_device(i);
        return;
    }
    while (*list != '\0' && device_count < MAX_GPUS) {
        size_t length = strcspn(list, ",");
        int gpu = named_device(list, length);
        if (gpu < 0)
            return;
        add_device(gpu);
        list += length + (list[length] == ',');
    }
}

static int start(void)
{
    if (session_open() != 0)
        return CUDA_NO_DEVICE;
    struct state *state = session.state;
    guard_hang(FN_cuInit);
    if (!LOAD(state->driver_loaded))
        return CUDA_NO_DEVICE;
    if (LOAD(state->forced[FN_cuInit]))
        return LOAD(state->forced[FN_cuInit]);
    if (strcmp(library_version(), state->kernel_driver_version) != 0)
        return CUDA_SYSTEM_DRIVER_MISMATCH;
    if (guard_open_node("nvidiactl", 1) != 0)
        return CUDA_NO_DEVICE;
    enumerate();
    if (device_count == 0)
        return CUDA_NO_DEVICE;
    for (int i = 0; i < device_count; i++) {
        struct gpu *gpu = &state->gpus[ordinals[i]];
        if (gpu->fabric_supported && gpu->fabric_state != 3)
            return CUDA_SYSTEM_NOT_READY;
    }
    state_lock();
    int full = client_enter(CLIENT_CUDA);
    state_unlock();
    return full == 0 ? CUDA_SUCCESS : CUDA_OPERATING_SYSTEM;
}

EXPORT int cuInit(unsigned flags)
{
    if (flags != 0)
        return CUDA_INVALID_VALUE;
    if (forked)
        return CUDA_NOT_INITIALIZED;
    cuda_lock();
    int result = CUDA_SUCCESS;
    if (!initialised) {
        result = start();
        initialised = result == CUDA_SUCCESS;
        if (!initialised)
            guard_close_nodes();
    }
    cuda_unlock();
    return result;
}

int cuda_enter(enum function function)
{
    if (!initialised || forked)
        return CUDA_NOT_INITIALIZED;
    guard_hang(function);
    if (!LOAD(session.state->driver_loaded))
        return CUDA_UNKNOWN;
    if (sticky != 0)
        return sticky;
    return LOAD(session.state->forced[function]);
}

void cuda_poison(int code)
{
    sticky = code;
}

int cuda_gpu(CUdevice device)
{
    return device >= 0 && device < device_count ? ordinals[device] : -1;
}

int cuda_device_count(void)
{
    return device_count;
}

CUdevice cuda_ordinal(int gpu)
{
    for (int i = 0; i < device_count; i++)
        if (ordinals[i] == gpu)
            return i;
    return -1;
}

EXPORT int cuDriverGetVersion(int *version)
{
    NEED(version != NULL, CUDA_INVALID_VALUE);
    NEED(session_open() == 0, CUDA_NO_DEVICE);
    *version = (int)session.state->cuda_version;
    return CUDA_SUCCESS;
}

EXPORT int cuDeviceGetCount(int *count)
{
    CUDA_ENTER(cuDeviceGetCount);
    NEED(count != NULL, CUDA_INVALID_VALUE);
    *count = device_count;
    return CUDA_SUCCESS;
}

EXPORT int cuDeviceGet(CUdevice *device, int ordinal)
{
    CUDA_ENTER(cuDeviceGet);
    NEED(device != NULL, CUDA_INVALID_VALUE);
    NEED(cuda_gpu(ordinal) >= 0, CUDA_INVALID_DEVICE);
    *device = ordinal;
    return CUDA_SUCCESS;
}
