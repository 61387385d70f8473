/* SPDX-License-Identifier: Apache-2.0 */
/* Reaches the CUDA driver in the way that is named, and prints the code of an allocation and of a wait.
 *
 * linked, handle, program, default, asked, asked_v2: as programs and the CUDA runtime do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef int (*allocate_function)(unsigned long long *, size_t);
typedef int (*wait_function)(void);
typedef int (*ask_function)(const char *, void **, int, uint64_t);
typedef int (*ask_v2_function)(const char *, void **, int, uint64_t, void *);

int cuInit(unsigned flags);
int cuDevicePrimaryCtxRetain(void **context, int device);
int cuCtxSetCurrent(void *context);
int cuMemAlloc_v2(unsigned long long *at, size_t size);
int cuCtxSynchronize(void);

static void *asked(const char *name, int second)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *found = NULL, *ask = NULL;
    if (second) {
        ask_v2_function first = (ask_v2_function)dlsym(driver, "cuGetProcAddress_v2");
        first("cuGetProcAddress", &ask, 12000, 0, NULL);
        ((ask_v2_function)ask)(name, &found, 12000, 0, NULL);
    } else {
        ((ask_function)dlsym(driver, "cuGetProcAddress"))(name, &found, 11030, 0);
    }
    return found;
}

int main(int count, char **words)
{
    const char *way = count > 1 ? words[1] : "linked";
    allocate_function allocate = cuMemAlloc_v2;
    wait_function wait = cuCtxSynchronize;
    if (strncmp(way, "asked", 5) == 0) {
        allocate = (allocate_function)asked("cuMemAlloc", way[5] != '\0');
        wait = (wait_function)asked("cuCtxSynchronize", way[5] != '\0');
    } else if (strcmp(way, "linked") != 0) {
        void *from = strcmp(way, "default") == 0 ? RTLD_DEFAULT
                     : strcmp(way, "program") == 0 ? dlopen(NULL, RTLD_NOW)
                                                   : dlopen("libcuda.so.1", RTLD_NOW);
        allocate = (allocate_function)dlsym(from, "cuMemAlloc_v2");
        wait = (wait_function)dlsym(from, "cuCtxSynchronize");
    }
    void *context = NULL;
    unsigned long long at = 0;
    if (cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&context, 0) != 0 || cuCtxSetCurrent(context) != 0)
        return 1;
    int allocated = allocate(&at, 1 << 20);
    printf("%d %d\n", allocated, wait());
    return 0;
}
