/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and events. All streams of a process run in order: one queue on each GPU. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "cuda.h"

struct stream {
    int gpu;
};
typedef struct stream *CUstream;

struct timing {
    int gpu;
    int recorded;
    uint64_t at_ns; /* when the work before it is done */
};
typedef struct timing *CUevent;

static uint64_t done_at(int gpu)
{
    uint64_t until = LOAD(my_client()->gpus[gpu].busy_until_ns), now = monotonic_ns();
    return until > now ? until : now;
}

/* The predefined streams are small numbers, not pointers. */
static int stream_gpu(CUstream stream, CUcontext context)
{
    return (uintptr_t)stream <= 2 ? context->gpu : stream->gpu;
}

EXPORT int cuStreamCreate(CUstream *stream, unsigned flags)
{
    CUDA_ENTER_CONTEXT(cuStreamCreate);
    NEED(stream != NULL && flags <= 1, CUDA_INVALID_VALUE);
    *stream = malloc(sizeof **stream);
    NEED(*stream != NULL, CUDA_OUT_OF_MEMORY);
    (*stream)->gpu = context->gpu;
    return CUDA_SUCCESS;
}

EXPORT int cuStreamDestroy_v2(CUstream stream)
{
    CUDA_ENTER_CONTEXT(cuStreamDestroy_v2);
    NEED((uintptr_t)stream > 2, CUDA_INVALID_HANDLE);
    free(stream);
    return CUDA_SUCCESS;
}

EXPORT int cuStreamDestroy(CUstream stream)
{
    return cuStreamDestroy_v2(stream);
}

EXPORT int cuStreamSynchronize(CUstream stream)
{
    CUDA_ENTER_CONTEXT(cuStreamSynchronize);
    cuda_wait(stream_gpu(stream, context));
    return cuda_enter(FN_cuStreamSynchronize);
}

EXPORT int cuStreamQuery(CUstream stream)
{
    CUDA_ENTER_CONTEXT(cuStreamQuery);
    int gpu = stream_gpu(stream, context);
    return LOAD(my_client()->gpus[gpu].busy_until_ns) > monotonic_ns() ? CUDA_NOT_READY : CUDA_SUCCESS;
}

EXPORT int cuEventCreate(CUevent *event, unsigned flags)
{
    CUDA_ENTER_CONTEXT(cuEventCreate);
    NEED(event != NULL && flags <= 7, CUDA_INVALID_VALUE);
    *event = calloc(1, sizeof **event);
    NEED(*event != NULL, CUDA_OUT_OF_MEMORY);
    (*event)->gpu = context->gpu;
    return CUDA_SUCCESS;
}

EXPORT int cuEventDestroy_v2(CUevent event)
{
    CUDA_ENTER_CONTEXT(cuEventDestroy_v2);
    NEED(event != NULL, CUDA_INVALID_HANDLE);
    free(event);
    return CUDA_SUCCESS;
}

EXPORT int cuEventDestroy(CUevent event)
{
    return cuEventDestroy_v2(event);
}

EXPORT int cuEventRecord(CUevent event, CUstream stream)
{
    CUDA_ENTER_CONTEXT(cuEventRecord);
    NEED(event != NULL, CUDA_INVALID_HANDLE);
    event->gpu = stream_gpu(stream, context);
    event->at_ns = done_at(event->gpu);
    event->recorded = 1;
    return CUDA_SUCCESS;
}

EXPORT int cuEventQuery(CUevent event)
{
    CUDA_ENTER_CONTEXT(cuEventQuery);
    NEED(event != NULL, CUDA_INVALID_HANDLE);
    return event->at_ns > monotonic_ns() ? CUDA_NOT_READY : CUDA_SUCCESS;
}

EXPORT int cuEventSynchronize(CUevent event)
{
    CUDA_ENTER_CONTEXT(cuEventSynchronize);
    NEED(event != NULL, CUDA_INVALID_HANDLE);
    if (event->at_ns > monotonic_ns())
        sleep_until(event->at_ns);
    return cuda_enter(FN_cuEventSynchronize);
}

EXPORT int cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to)
{
    CUDA_ENTER_CONTEXT(cuEventElapsedTime);
    NEED(milliseconds != NULL, CUDA_INVALID_VALUE);
    NEED(from != NULL && to != NULL && from->recorded && to->recorded, CUDA_INVALID_HANDLE);
    uint64_t now = monotonic_ns();
    NEED(from->at_ns <= now && to->at_ns <= now, CUDA_NOT_READY);
    *milliseconds = (float)((double)((int64_t)(to->at_ns - from->at_ns)) / 1e6);
    return CUDA_SUCCESS;
}
