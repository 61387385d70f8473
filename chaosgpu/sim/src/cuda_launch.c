/* SPDX-License-Identifier: Apache-2.0 */
/* Modules and kernels. A kernel is its name and the time it takes; the time makes load, power and heat. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda.h"
#include "events.h"

#define MAX_KERNELS 32
#define LATENCY_CYCLES 16.0     /* of one turn of a short chain of multiply-adds, when few threads run */
#define INSTRUCTIONS 7.0        /* in one turn of it */
#define THREADS_AN_SM 2048.0
#define DEFAULT_KERNEL_CYCLES 1e6
#define FOR_EVER (3600ULL * 1000000000ULL)

struct kernel {
    char name[96];
};

struct module {
    int kernels;
    struct kernel kernel[MAX_KERNELS];
};
typedef struct module *CUmodule;
typedef struct kernel *CUfunction;

/* The names behind ".entry" in the text. */
static int find_entries(struct module *module, const char *text)
{
    while ((text = strstr(text, ".entry")) != NULL) {
        text += strlen(".entry");
        while (isspace((unsigned char)*text))
            text++;
        size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$");
        if (length == 0 || length >= sizeof module->kernel[0].name || module->kernels == MAX_KERNELS)
            return -1;
        memcpy(module->kernel[module->kernels++].name, text, length);
    }
    return 0;
}

static int is_ptx(const char *image)
{
    const unsigned char *at = (const unsigned char *)image;
    for (size_t i = 0; at[i] != '\0'; i++)
        if (at[i] < 9 || at[i] > 126)
            return 0;
    return strstr(image, ".version") != NULL && strstr(image, ".target") != NULL
           && strstr(image, ".address_size") != NULL;
}

static int load(CUmodule *module, const void *image)
{
    NEED(module != NULL && image != NULL, CUDA_INVALID_VALUE);
    NEED(is_ptx(image), CUDA_INVALID_PTX);
    struct module *made = calloc(1, sizeof *made);
    NEED(made != NULL, CUDA_OUT_OF_MEMORY);
    if (find_entries(made, image) != 0) {
        free(made);
        return CUDA_INVALID_PTX;
    }
    *module = made;
    return CUDA_SUCCESS;
}

EXPORT int cuModuleLoadData(CUmodule *module, const void *image)
{
    CUDA_ENTER_CONTEXT(cuModuleLoadData);
    return load(module, image);
}

EXPORT int cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, const int *options, void **values)
{
    CUDA_ENTER_CONTEXT(cuModuleLoadDataEx);
    (void)count;
    (void)options;
    (void)values;
    return load(module, image);
}

EXPORT int cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    CUDA_ENTER_CONTEXT(cuModuleGetFunction);
    NEED(function != NULL && name != NULL, CUDA_INVALID_VALUE);
    NEED(module != NULL, CUDA_INVALID_HANDLE);
    for (int i = 0; i < module->kernels; i++)
        if (strcmp(module->kernel[i].name, name) == 0) {
            *function = &module->kernel[i];
            return CUDA_SUCCESS;
        }
    return CUDA_NOT_FOUND;
}

EXPORT int cuModuleUnload(CUmodule module)
{
    CUDA_ENTER_CONTEXT(cuModuleUnload);
    NEED(module != NULL, CUDA_INVALID_HANDLE);
    free(module);
    return CUDA_SUCCESS;
}

/* Processes that have work on the GPU share its time. */
static unsigned sharers(int gpu, uint64_t now)
{
    struct state *state = session.state;
    unsigned others = 0;
    for (int slot = 0; slot < (int)state->clients_high; slot++)
        if (slot != session.slot && LOAD(state->clients[slot].gpus[gpu].busy_until_ns) > now
            && LOAD(state->clients[slot].used) && client_lives(slot))
            others++;
    return others + 1;
}

static void occupy(int gpu, double cycles, uint64_t fixed_ns)
{
    state_lock();
    uint64_t mhz = physics_load_mhz(gpu);
    uint64_t now = monotonic_ns();
    struct usage *mine = &my_client()->gpus[gpu];
    uint64_t ns = fixed_ns ? fixed_ns : (uint64_t)(cycles * 1000.0 / (double)(mhz ? mhz : 1)) * sharers(gpu, now);
    if (ns > FOR_EVER)
        ns = FOR_EVER;
    uint64_t from = mine->busy_until_ns > now ? mine->busy_until_ns : now;
    mine->busy_ns += ns;
    STORE(mine->busy_until_ns, from + ns);
    state_unlock();
}

/* A kernel that faults: the driver logs an Xid, and this process can do nothing more. */
static void fault(int gpu, unsigned xid, int code)
{
    state_lock();
    event_xid(gpu, xid, (unsigned)getpid(), program_invocation_short_name);
    state_unlock();
    cuda_poison(code);
}

EXPORT int cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters,
                          void **extra)
{
    CUDA_ENTER_CONTEXT(cuLaunchKernel);
    (void)shared;
    (void)stream;
    (void)extra;
    NEED(function != NULL, CUDA_INVALID_HANDLE);
    NEED(grid_x && grid_y && grid_z && block_x && block_y && block_z, CUDA_INVALID_VALUE);
    NEED((uint64_t)block_x * block_y * block_z <= 1024, CUDA_INVALID_VALUE);
    struct gpu *gpu = &session.state->gpus[context->gpu];
    double cycles = DEFAULT_KERNEL_CYCLES;
    double threads = (double)grid_x * grid_y * grid_z * block_x * block_y * block_z;
    double on_each_sm = threads / (double)(gpu->sm_count ? gpu->sm_count : 1);
    if (strcmp(function->name, "badstore") == 0) {
        fault(context->gpu, 31, CUDA_ILLEGAL_ADDRESS);
        return CUDA_SUCCESS; /* launches are asynchronous: the next call reports it */
    }
    if (strcmp(function->name, "dotrap") == 0) {
        fault(context->gpu, 13, CUDA_LAUNCH_FAILED);
        return CUDA_SUCCESS;
    }
    if (strcmp(function->name, "hang") == 0) {
        occupy(context->gpu, 0, FOR_EVER);
        return CUDA_SUCCESS;
    }
    if (strcmp(function->name, "spin") == 0) { /* spin(out, iterations) */
        NEED(parameters != NULL && parameters[0] != NULL && parameters[1] != NULL, CUDA_INVALID_VALUE);
        CUdeviceptr out = *(CUdeviceptr *)parameters[0];
        unsigned iterations = *(unsigned *)parameters[1];
        if (cuda_memory_check(out, 4) != CUDA_SUCCESS) {
            fault(context->gpu, 31, CUDA_ILLEGAL_ADDRESS);
            return CUDA_SUCCESS;
        }
        double resident = on_each_sm < THREADS_AN_SM ? on_each_sm : THREADS_AN_SM;
        double issue = INSTRUCTIONS * resident / 32 / 4; /* warps of 32 threads, four schedulers */
        cycles = (double)iterations * (issue > LATENCY_CYCLES ? issue : LATENCY_CYCLES);
    }
    double waves = on_each_sm / THREADS_AN_SM; /* more threads than fit take turns */
    occupy(context->gpu, cycles * (waves > 1 ? waves : 1), 0);
    return CUDA_SUCCESS;
}

void cuda_wait(int gpu)
{
    uint64_t until;
    while ((until = LOAD(my_client()->gpus[gpu].busy_until_ns)) > monotonic_ns()) {
        uint64_t now = monotonic_ns();
        sleep_until(until - now > 100000000ULL ? now + 100000000ULL : until);
        if (LOAD(session.state->gpus[gpu].lost)) {
            cuda_poison(CUDA_UNKNOWN);
            return;
        }
    }
}
