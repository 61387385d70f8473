/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: what they cost, and who may have one. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "cuda.h"

#define STACK 64

static struct context primary[MAX_GPUS];
static int contexts_on[MAX_GPUS]; /* of this process */
static __thread CUcontext stack[STACK];
static __thread int depth; /* stack[depth - 1] is current */

CUcontext cuda_current(void)
{
    return depth > 0 ? stack[depth - 1] : NULL;
}

int cuda_enter_context(enum function function, CUcontext *context)
{
    int refused = cuda_enter(function);
    if (refused != CUDA_SUCCESS)
        return refused;
    *context = cuda_current();
    if (*context == NULL)
        return CUDA_INVALID_CONTEXT;
    if (!(*context)->alive)
        return CUDA_CONTEXT_IS_DESTROYED;
    struct gpu *gpu = &session.state->gpus[(*context)->gpu];
    if (LOAD(gpu->lost) || LOAD(gpu->removed))
        return CUDA_UNKNOWN;
    return LOAD(gpu->forced[function]);
}

/* Make a context on the GPU: the compute mode may forbid it, and it takes its memory. */
static int acquire(int index, enum function function)
{
    struct gpu *gpu = &session.state->gpus[index];
    if (LOAD(gpu->lost) || LOAD(gpu->removed))
        return CUDA_UNKNOWN;
    if (LOAD(gpu->forced[function]))
        return LOAD(gpu->forced[function]);
    if (guard_open_gpu_node(index, 0) != 0)
        return CUDA_OPERATING_SYSTEM;
    int result = CUDA_SUCCESS;
    state_lock();
    struct usage *mine = &my_client()->gpus[index];
    if (contexts_on[index] == 0 && (gpu->drain || gpu->reset_required || gpu->compute_mode == 2))
        result = CUDA_DEVICE_UNAVAILABLE;
    else if (contexts_on[index] == 0 && gpu->compute_mode == 3 && gpu_contexts(index) > 0)
        result = CUDA_DEVICE_UNAVAILABLE;
    else if (gpu_used_bytes(index) + gpu->context_mib * MIB > (gpu->memory_total_mib - gpu->memory_reserved_mib) * MIB)
        result = CUDA_OUT_OF_MEMORY;
    else {
        contexts_on[index]++;
        STORE(mine->context_bytes, (uint64_t)contexts_on[index] * gpu->context_mib * MIB);
    }
    state_unlock();
    return result;
}

static void give_up(CUcontext context)
{
    struct gpu *gpu = &session.state->gpus[context->gpu];
    cuda_memory_forget(context);
    state_lock();
    contexts_on[context->gpu]--;
    STORE(my_client()->gpus[context->gpu].context_bytes, (uint64_t)contexts_on[context->gpu] * gpu->context_mib * MIB);
    if (contexts_on[context->gpu] == 0)
        STORE(my_client()->gpus[context->gpu].busy_until_ns, 0);
    state_unlock();
    context->alive = 0;
}

EXPORT int cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    CUDA_ENTER(cuDevicePrimaryCtxRetain);
    int index = cuda_gpu(device);
    NEED(context != NULL, CUDA_INVALID_VALUE);
    NEED(index >= 0, CUDA_INVALID_DEVICE);
    cuda_lock();
    int result = CUDA_SUCCESS;
    if (!primary[index].alive) {
        result = acquire(index, FN_cuDevicePrimaryCtxRetain);
        if (result == CUDA_SUCCESS)
            primary[index] = (struct context){.gpu = index, .primary = 1, .alive = 1, .flags = primary[index].flags};
    }
    if (result == CUDA_SUCCESS) {
        primary[index].references++;
        *context = &primary[index];
    }
    cuda_unlock();
    return result;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    CUDA_ENTER(cuDevicePrimaryCtxRelease_v2);
    int index = cuda_gpu(device);
    NEED(index >= 0, CUDA_INVALID_DEVICE);
    cuda_lock();
    int result = primary[index].alive ? CUDA_SUCCESS : CUDA_INVALID_CONTEXT;
    if (result == CUDA_SUCCESS && --primary[index].references == 0)
        give_up(&primary[index]);
    cuda_unlock();
    return result;
}

EXPORT int cuDevicePrimaryCtxRelease(CUdevice device)
{
    return cuDevicePrimaryCtxRelease_v2(device);
}

EXPORT int cuDevicePrimaryCtxReset_v2(CUdevice device)
{
    CUDA_ENTER(cuDevicePrimaryCtxReset_v2);
    int index = cuda_gpu(device);
    NEED(index >= 0, CUDA_INVALID_DEVICE);
    cuda_lock();
    if (primary[index].alive)
        give_up(&primary[index]);
    primary[index].references = 0;
    cuda_unlock();
    return CUDA_SUCCESS;
}

EXPORT int cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags)
{
    CUDA_ENTER(cuDevicePrimaryCtxSetFlags_v2);
    int index = cuda_gpu(device);
    NEED(index >= 0, CUDA_INVALID_DEVICE);
    primary[index].flags = flags;
    return CUDA_SUCCESS;
}

EXPORT int cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
    CUDA_ENTER(cuDevicePrimaryCtxGetState);
    int index = cuda_gpu(device);
    NEED(flags != NULL && active != NULL, CUDA_INVALID_VALUE);
    NEED(index >= 0, CUDA_INVALID_DEVICE);
    *flags = primary[index].flags;
    *active = primary[index].alive;
    return CUDA_SUCCESS;
}

static int push(CUcontext context)
{
    NEED(depth < STACK, CUDA_INVALID_VALUE);
    stack[depth++] = context;
    return CUDA_SUCCESS;
}

EXPORT int cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device)
{
    CUDA_ENTER(cuCtxCreate_v2);
    int index = cuda_gpu(device);
    NEED(context != NULL, CUDA_INVALID_VALUE);
    NEED(index >= 0, CUDA_INVALID_DEVICE);
    CUcontext made = calloc(1, sizeof *made);
    NEED(made != NULL, CUDA_OUT_OF_MEMORY);
    cuda_lock();
    int result = acquire(index, FN_cuCtxCreate_v2);
    cuda_unlock();
    if (result != CUDA_SUCCESS) {
        free(made);
        return result;
    }
    *made = (struct context){.gpu = index, .references = 1, .alive = 1, .flags = flags};
    *context = made;
    return push(made);
}

EXPORT int cuCtxDestroy_v2(CUcontext context)
{
    CUDA_ENTER(cuCtxDestroy_v2);
    NEED(context != NULL && context->alive && !context->primary, CUDA_INVALID_CONTEXT);
    cuda_lock();
    give_up(context); /* its record stays: other threads may still name it */
    cuda_unlock();
    if (cuda_current() == context)
        depth--;
    return CUDA_SUCCESS;
}

EXPORT int cuCtxSetCurrent(CUcontext context)
{
    CUDA_ENTER(cuCtxSetCurrent);
    if (context == NULL) {
        depth -= depth > 0;
        return CUDA_SUCCESS;
    }
    NEED(context->alive, CUDA_INVALID_CONTEXT);
    if (depth == 0)
        return push(context);
    stack[depth - 1] = context;
    return CUDA_SUCCESS;
}

EXPORT int cuCtxGetCurrent(CUcontext *context)
{
    CUDA_ENTER(cuCtxGetCurrent);
    NEED(context != NULL, CUDA_INVALID_VALUE);
    *context = cuda_current();
    return CUDA_SUCCESS;
}

EXPORT int cuCtxPushCurrent_v2(CUcontext context)
{
    CUDA_ENTER(cuCtxPushCurrent_v2);
    NEED(context != NULL && context->alive, CUDA_INVALID_CONTEXT);
    return push(context);
}

EXPORT int cuCtxPopCurrent_v2(CUcontext *context)
{
    CUDA_ENTER(cuCtxPopCurrent_v2);
    NEED(depth > 0, CUDA_INVALID_CONTEXT);
    depth--;
    if (context != NULL)
        *context = stack[depth];
    return CUDA_SUCCESS;
}

EXPORT int cuCtxGetDevice(CUdevice *device)
{
    CUDA_ENTER_CONTEXT(cuCtxGetDevice);
    NEED(device != NULL, CUDA_INVALID_VALUE);
    *device = cuda_ordinal(context->gpu);
    return CUDA_SUCCESS;
}

EXPORT int cuCtxSynchronize(void)
{
    CUDA_ENTER_CONTEXT(cuCtxSynchronize);
    cuda_wait(context->gpu);
    return cuda_enter(FN_cuCtxSynchronize); /* an error of a kernel shows here */
}
