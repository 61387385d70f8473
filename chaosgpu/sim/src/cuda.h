/* SPDX-License-Identifier: Apache-2.0 */
/* The binary interface of the CUDA driver that we answer, and this process's own contexts and allocations. */
#ifndef CHAOSGPU_CUDA_H
#define CHAOSGPU_CUDA_H

#include <stddef.h>

#include "clients.h"
#include "guard.h"
#include "physics.h"
#include "state.h"

enum {
    CUDA_SUCCESS = 0,
    CUDA_INVALID_VALUE = 1,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_NOT_INITIALIZED = 3,
    CUDA_DEVICE_UNAVAILABLE = 46,
    CUDA_NO_DEVICE = 100,
    CUDA_INVALID_DEVICE = 101,
    CUDA_INVALID_CONTEXT = 201,
    CUDA_INVALID_PTX = 218,
    CUDA_OPERATING_SYSTEM = 304,
    CUDA_INVALID_HANDLE = 400,
    CUDA_NOT_FOUND = 500,
    CUDA_NOT_READY = 600,
    CUDA_ILLEGAL_ADDRESS = 700,
    CUDA_CONTEXT_IS_DESTROYED = 709,
    CUDA_LAUNCH_FAILED = 719,
    CUDA_SYSTEM_NOT_READY = 802,
    CUDA_SYSTEM_DRIVER_MISMATCH = 803,
    CUDA_UNKNOWN = 999,
};

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;

struct context {
    int gpu;
    int references; /* of a primary context; 1 for others */
    int primary;
    int alive;
    unsigned flags;
};
typedef struct context *CUcontext;

/* The way into a call: 0 or the code to return. A sticky error of this process comes first. */
int cuda_enter(enum function function);
/* The same for calls that need a current context; `context` gets it. */
int cuda_enter_context(enum function function, CUcontext *context);
/* The state's number of the GPU behind a CUDA ordinal, or -1. */
int cuda_gpu(CUdevice device);
int cuda_device_count(void);
CUdevice cuda_ordinal(int gpu);
/* A fault in a kernel spoils every later call of this process. */
void cuda_poison(int code);
void cuda_lock(void);
void cuda_unlock(void);
CUcontext cuda_current(void);
/* Free everything this context holds. */
void cuda_memory_forget(CUcontext context);
/* Check that [at, at + size) lies in one allocation: 0 or INVALID_VALUE. */
int cuda_memory_check(CUdeviceptr at, size_t size);
/* Wait for the kernels of one GPU. */
void cuda_wait(int gpu);

#define CUDA_ENTER(name)                                                                                         \
    do {                                                                                                         \
        int refused_ = cuda_enter(FN_##name);                                                                    \
        if (refused_ != CUDA_SUCCESS)                                                                            \
            return refused_ == IGNORED ? CUDA_SUCCESS : refused_;                                                \
    } while (0)

#define CUDA_ENTER_CONTEXT(name)                                                                                 \
    CUcontext context;                                                                                           \
    do {                                                                                                         \
        int refused_ = cuda_enter_context(FN_##name, &context);                                                  \
        if (refused_ != CUDA_SUCCESS)                                                                            \
            return refused_ == IGNORED ? CUDA_SUCCESS : refused_;                                                \
    } while (0)

#define NEED(condition, code)                                                                                    \
    do {                                                                                                         \
        if (!(condition))                                                                                        \
            return (code);                                                                                       \
    } while (0)

#endif
