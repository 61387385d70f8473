/* SPDX-License-Identifier: Apache-2.0 */
/* A preloaded library that stands before the CUDA driver in one process: calls go through, or fail by the toggle.
 *
 * Programs reach libcuda.so.1 in three ways, and all have to pass here: linked (our names come first), looked up with
 * dlsym (ctypes, the CUDA runtime), and asked of cuGetProcAddress (the CUDA runtime from 11.3 on). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "toggle.h"

#define EXPORT __attribute__((visibility("default")))
#define NOT_FOUND 500 /* CUDA_ERROR_NOT_FOUND */
#define PER_THREAD_STREAM 2 /* of cuGetProcAddress's flags */

/* What calls.h writes its parameters with. */
typedef unsigned long long device_address;
#define LAUNCH_SIZES                                                                                             \
    unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z
#define LAUNCH_SIZES_ON grid_x, grid_y, grid_z, block_x, block_y, block_z

typedef void *(*dlsym_function)(void *, const char *);

/* Our functions, by number. */
enum number {
#define CALL(group, name, parameters, arguments) N_##name,
#include "calls.h"
#undef CALL
    N_cuGetProcAddress,
    N_cuGetProcAddress_v2,
    NUMBERS,
};

struct function {
    const char *name;
    void *ours;
    _Atomic(void *) real; /* the driver's */
};

static void *real(enum number number);

#define CALL(group, name, parameters, arguments)                                                                  \
    EXPORT int name parameters                                                                                    \
    {                                                                                                             \
        int code = toggle_verdict(group);                                                                         \
        if (code != 0)                                                                                            \
            return code;                                                                                          \
        int(*go_on) parameters = (int(*) parameters)real(N_##name);                                               \
        return go_on != NULL ? go_on arguments : NOT_FOUND;                                                       \
    }
#include "calls.h"
#undef CALL

EXPORT int cuGetProcAddress(const char *symbol, void **found, int version, uint64_t flags);
EXPORT int cuGetProcAddress_v2(const char *symbol, void **found, int version, uint64_t flags, void *status);

static struct function functions[NUMBERS] = {
#define CALL(group, name, parameters, arguments) {#name, (void *)name, NULL},
#include "calls.h"
#undef CALL
    {"cuGetProcAddress", (void *)cuGetProcAddress, NULL},
    {"cuGetProcAddress_v2", (void *)cuGetProcAddress_v2, NULL},
};

/* The C library's own dlsym: ours has its name, so it is found by its version, the newest first. */
static dlsym_function real_dlsym(void)
{
    static _Atomic(dlsym_function) known;
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
    dlsym_function found = atomic_load(&known);
    for (size_t i = 0; found == NULL && i < sizeof versions / sizeof versions[0]; i++)
        found = (dlsym_function)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    atomic_store(&known, found);
    return found;
}

static struct function *by_name(const char *name)
{
    for (size_t i = 0; i < NUMBERS; i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

/* The name in whatever comes after us: what was linked, else a driver that somebody has loaded for himself. */
static void *after_us(const char *name)
{
    dlsym_function look_up = real_dlsym();
    void *found = look_up(RTLD_NEXT, name);
    if (found == NULL) {
        void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
        if (driver != NULL) {
            found = look_up(driver, name);
            dlclose(driver); /* it stays: somebody else has it open */
        }
    }
    return found;
}

static void *real(enum number number)
{
    struct function *function = &functions[number];
    void *found = atomic_load(&function->real);
    if (found == NULL) {
        found = after_us(function->name);
        atomic_store(&function->real, found);
    }
    return found;
}

/* Ours in place of what was found, unless it belongs to a second driver: two cannot stand behind one name. */
static void *instead(struct function *function, void *found)
{
    void *nothing = NULL;
    if (found == NULL || found == function->ours)
        return found;
    atomic_compare_exchange_strong(&function->real, &nothing, found);
    return atomic_load(&function->real) == found ? function->ours : found;
}

static void *look_up_ours(void *handle, const char *name)
{
    struct function *function = by_name(name);
    void *found = handle == RTLD_DEFAULT ? after_us(name) : real_dlsym()(handle, name);
    if (found == function->ours) /* a handle of the whole program: we are its first library */
        found = after_us(name);
    return instead(function, found);
}

/* Apart from dlsym, so that the compiler makes of that a jump. */
static __attribute__((noinline)) dlsym_function way(void *handle, const char *name)
{
    if (handle != RTLD_NEXT && name != NULL && name[0] == 'c' && name[1] == 'u' && by_name(name) != NULL)
        return look_up_ours;
    return real_dlsym();
}

/* The last call must be a jump: RTLD_NEXT and RTLD_DEFAULT mean the caller, whom dlsym knows by the return address. */
EXPORT void *dlsym(void *restrict handle, const char *restrict name)
{
    return way(handle, name)(handle, name);
}

/* The driver may hand out other addresses than dlsym does, so what it found is known by the name that was asked. */
static void adopt(const char *symbol, void **found, int version, uint64_t flags)
{
    static const char *const plain[] = {"_v2", "", NULL};
    static const char *const per_thread[] = {"_v2_ptsz", "_v2_ptds", "_ptsz", "_ptds", "_v2", "", NULL};
    char name[128];
    if (symbol == NULL || found == NULL || *found == NULL || version < 4000)
        return; /* before CUDA 4 the same names meant calls with other arguments */
    for (size_t i = 0; i < NUMBERS; i++)
        if (*found == functions[i].ours || *found == atomic_load(&functions[i].real)) {
            *found = functions[i].ours;
            return;
        }
    for (const char *const *end = flags & PER_THREAD_STREAM ? per_thread : plain; *end != NULL; end++) {
        snprintf(name, sizeof name, "%s%s", symbol, *end);
        struct function *function = by_name(name);
        if (function == &functions[N_cuGetProcAddress_v2] && version < 12000)
            continue;
        if (function != NULL) {
            void *nothing = NULL;
            atomic_compare_exchange_strong(&function->real, &nothing, *found);
            *found = function->ours;
            return;
        }
    }
}

EXPORT int cuGetProcAddress(const char *symbol, void **found, int version, uint64_t flags)
{
    int (*ask)(const char *, void **, int, uint64_t) = real(N_cuGetProcAddress);
    int code = ask != NULL ? ask(symbol, found, version, flags) : NOT_FOUND;
    if (code == 0)
        adopt(symbol, found, version, flags);
    return code;
}

EXPORT int cuGetProcAddress_v2(const char *symbol, void **found, int version, uint64_t flags, void *status)
{
    int (*ask)(const char *, void **, int, uint64_t, void *) = real(N_cuGetProcAddress_v2);
    int code = ask != NULL ? ask(symbol, found, version, flags, status) : NOT_FOUND;
    if (code == 0)
        adopt(symbol, found, version, flags);
    return code;
}
