/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory: what is taken is shared with all processes, what is in it only this process knows.
 *
 * The first 64 KiB of an allocation keep their contents; what lies behind reads as the last byte it was filled with. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

#define BACKED (64 * 1024)
#define SMALL (1 * MIB) /* below this, allocations share blocks of 2 MiB */
#define ALIGNMENT 512

struct allocation {
    CUdeviceptr at;
    size_t size;
    CUcontext context;
    unsigned char *content; /* NULL until written */
    unsigned char fill;
};

static struct allocation *table; /* sorted by address: addresses only grow */
static size_t count, room;
static CUdeviceptr next_at = 0x700000000000ULL;
static uint64_t large_bytes[MAX_GPUS], small_bytes[MAX_GPUS];

static uint64_t round_up(uint64_t size, uint64_t to)
{
    return (size + to - 1) / to * to;
}

static uint64_t billed(int gpu)
{
    return large_bytes[gpu] + round_up(small_bytes[gpu], GRANULE);
}

static void bill(int gpu, size_t size, int sign)
{
    uint64_t *kind = size < SMALL ? &small_bytes[gpu] : &large_bytes[gpu];
    uint64_t bytes = round_up(size, size < SMALL ? ALIGNMENT : GRANULE);
    *kind = sign > 0 ? *kind + bytes : *kind - bytes;
}

/* The allocation that holds the address, or NULL. */
static struct allocation *find(CUdeviceptr at)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table[middle].at + table[middle].size <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && table[low].at <= at ? &table[low] : NULL;
}

EXPORT int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    CUDA_ENTER_CONTEXT(cuMemGetInfo_v2);
    NEED(free_bytes != NULL && total_bytes != NULL, CUDA_INVALID_VALUE);
    struct gpu *gpu = &session.state->gpus[context->gpu];
    uint64_t total = (gpu->memory_total_mib - gpu->memory_reserved_mib) * MIB;
    state_lock();
    uint64_t used = gpu_used_bytes(context->gpu);
    state_unlock();
    *total_bytes = total;
    *free_bytes = used < total ? total - used : 0;
    return CUDA_SUCCESS;
}

/* Whether a hard limit on one of our cgroups forbids `extra` more bytes. */
static int over_limit(struct gpu *gpu, int index, uint64_t extra)
{
    for (int i = 0; i < MAX_MEMORY_LIMITS; i++) {
        struct memory_limit *limit = &gpu->limits[i];
        if (!LOAD(limit->used))
            continue;
        size_t length = strlen(limit->cgroup);
        const char *mine = my_client()->cgroup;
        if (strncmp(mine, limit->cgroup, length) != 0 || (length > 1 && mine[length] != '\0' && mine[length] != '/'))
            continue;
        uint64_t used = cgroup_used_bytes(index, limit->cgroup);
        if (limit->hard < used || limit->hard - used < extra)
            return 1;
    }
    return 0;
}

EXPORT int cuMemAlloc_v2(CUdeviceptr *at, size_t size)
{
    CUDA_ENTER_CONTEXT(cuMemAlloc_v2);
    NEED(at != NULL && size > 0, CUDA_INVALID_VALUE);
    int index = context->gpu;
    struct gpu *gpu = &session.state->gpus[index];
    uint64_t total = (gpu->memory_total_mib - gpu->memory_reserved_mib) * MIB;
    NEED(size <= total, CUDA_OUT_OF_MEMORY);
    NEED(guard_open_gpu_node(index, 0) == 0, CUDA_OPERATING_SYSTEM);
    cuda_lock();
    int result = CUDA_SUCCESS;
    if (count == room) {
        size_t wider = room ? room * 2 : 64;
        struct allocation *moved = realloc(table, wider * sizeof *moved);
        if (moved == NULL) {
            cuda_unlock();
            return CUDA_OUT_OF_MEMORY;
        }
        table = moved;
        room = wider;
    }
    uint64_t before = billed(index);
    bill(index, size, 1);
    uint64_t extra = billed(index) - before;
    state_lock();
    if (extra > 0 && (gpu_used_bytes(index) + extra > total || over_limit(gpu, index, extra)))
        result = CUDA_OUT_OF_MEMORY;
    else
        STORE(my_client()->gpus[index].allocated_bytes, billed(index));
    state_unlock();
    if (result == CUDA_SUCCESS) {
        table[count++] = (struct allocation){.at = next_at, .size = size, .context = context};
        *at = next_at;
        next_at += round_up(size, size < SMALL ? ALIGNMENT : GRANULE);
    } else {
        bill(index, size, -1);
    }
    cuda_unlock();
    return result;
}

static void drop(struct allocation *gone)
{
    int gpu = gone->context->gpu;
    bill(gpu, gone->size, -1);
    state_lock(); /* who counts the memory sees one moment of it */
    STORE(my_client()->gpus[gpu].allocated_bytes, billed(gpu));
    state_unlock();
    free(gone->content);
}

EXPORT int cuMemFree_v2(CUdeviceptr at)
{
    CUDA_ENTER_CONTEXT(cuMemFree_v2);
    NEED(at != 0, CUDA_SUCCESS);
    cuda_lock();
    struct allocation *gone = find(at);
    int result = gone != NULL && gone->at == at ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        drop(gone);
        memmove(gone, gone + 1, (size_t)(table + count - gone - 1) * sizeof *gone);
        count--;
    }
    cuda_unlock();
    return result;
}

void cuda_memory_forget(CUcontext context)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (table[i].context == context)
            drop(&table[i]);
        else
            table[kept++] = table[i];
    }
    count = kept;
}

static struct allocation *range(CUdeviceptr at, size_t size)
{
    struct allocation *found = find(at);
    return found != NULL && size <= found->at + found->size - at ? found : NULL;
}

int cuda_memory_check(CUdeviceptr at, size_t size)
{
    cuda_lock();
    int found = range(at, size) != NULL;
    cuda_unlock();
    return found ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

/* The part of a range that keeps its contents; makes room for it. */
static unsigned char *backed(struct allocation *in, CUdeviceptr at, size_t *size)
{
    size_t offset = (size_t)(at - in->at);
    size_t kept = in->size < BACKED ? in->size : BACKED;
    if (offset >= kept) {
        *size = 0;
        return NULL;
    }
    if (in->content == NULL) {
        in->content = malloc(kept);
        if (in->content == NULL) {
            *size = 0;
            return NULL;
        }
        memset(in->content, in->fill, kept);
    }
    if (*size > kept - offset)
        *size = kept - offset;
    return in->content + offset;
}

static int fill(CUdeviceptr at, size_t size, const void *pattern, size_t width)
{
    cuda_lock();
    struct allocation *in = range(at, size);
    if (in != NULL && in->content == NULL && size == in->size && width == 1) {
        in->fill = *(const unsigned char *)pattern; /* the whole of it: nothing to keep */
    } else if (in != NULL) {
        size_t part = size;
        unsigned char *content = backed(in, at, &part);
        for (size_t i = 0; i < part; i++)
            content[i] = ((const unsigned char *)pattern)[i % width];
        if (part < size)
            in->fill = *(const unsigned char *)pattern;
    }
    cuda_unlock();
    return in != NULL ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

EXPORT int cuMemsetD8_v2(CUdeviceptr at, unsigned char value, size_t n)
{
    CUDA_ENTER_CONTEXT(cuMemsetD8_v2);
    return fill(at, n, &value, sizeof value);
}

EXPORT int cuMemsetD32_v2(CUdeviceptr at, unsigned value, size_t n)
{
    CUDA_ENTER_CONTEXT(cuMemsetD32_v2);
    NEED(at % sizeof value == 0 && n <= SIZE_MAX / sizeof value, CUDA_INVALID_VALUE);
    return fill(at, n * sizeof value, &value, sizeof value);
}

EXPORT int cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size)
{
    CUDA_ENTER_CONTEXT(cuMemcpyHtoD_v2);
    NEED(from != NULL || size == 0, CUDA_INVALID_VALUE);
    cuda_lock();
    struct allocation *in = range(to, size);
    if (in != NULL) {
        size_t part = size;
        unsigned char *content = backed(in, to, &part);
        if (part > 0)
            memcpy(content, from, part);
    }
    cuda_unlock();
    return in != NULL ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

static void read_out(unsigned char *to, struct allocation *in, CUdeviceptr from, size_t size)
{
    size_t part = size;
    unsigned char *content = backed(in, from, &part);
    if (part > 0)
        memcpy(to, content, part);
    if (part < size)
        memset(to + part, in->fill, size - part);
}

EXPORT int cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size)
{
    CUDA_ENTER_CONTEXT(cuMemcpyDtoH_v2);
    NEED(to != NULL || size == 0, CUDA_INVALID_VALUE);
    cuda_wait(context->gpu); /* a copy to the host waits for the kernels before it */
    cuda_lock();
    struct allocation *in = range(from, size);
    if (in != NULL)
        read_out(to, in, from, size);
    cuda_unlock();
    return in != NULL ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

EXPORT int cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size)
{
    CUDA_ENTER_CONTEXT(cuMemcpyDtoD_v2);
    cuda_lock();
    struct allocation *source = range(from, size), *target = range(to, size);
    if (source != NULL && target != NULL && size > 0) {
        size_t part = size;
        unsigned char *content = backed(target, to, &part);
        size_t readable = part;
        unsigned char *origin = backed(source, from, &readable);
        if (readable > 0)
            memmove(content, origin, readable);
        if (part > readable)
            memset(content + readable, source->fill, part - readable);
        if (part < size)
            target->fill = source->fill;
    }
    cuda_unlock();
    return source != NULL && target != NULL ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

EXPORT int cuMemHostAlloc(void **at, size_t size, unsigned flags)
{
    CUDA_ENTER_CONTEXT(cuMemHostAlloc);
    (void)flags;
    NEED(at != NULL && size > 0, CUDA_INVALID_VALUE);
    *at = calloc(1, size);
    return *at != NULL ? CUDA_SUCCESS : CUDA_OUT_OF_MEMORY;
}

EXPORT int cuMemFreeHost(void *at)
{
    CUDA_ENTER_CONTEXT(cuMemFreeHost);
    free(at);
    return CUDA_SUCCESS;
}
