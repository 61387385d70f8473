/* SPDX-License-Identifier: Apache-2.0 */
/* Names: of errors, and of functions for those who look them up through the driver. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

#include "cuda.h"

struct error {
    int code;
    const char *name, *text;
};

static const struct error errors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static const struct error *find(int code)
{
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].code == code)
            return &errors[i];
    return NULL;
}

EXPORT int cuGetErrorName(int code, const char **name)
{
    NEED(name != NULL, CUDA_INVALID_VALUE);
    const struct error *error = find(code);
    *name = error != NULL ? error->name : NULL;
    return error != NULL ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

EXPORT int cuGetErrorString(int code, const char **text)
{
    NEED(text != NULL, CUDA_INVALID_VALUE);
    const struct error *error = find(code);
    *text = error != NULL ? error->text : NULL;
    return error != NULL ? CUDA_SUCCESS : CUDA_INVALID_VALUE;
}

/* The newest version of the name that this library has. */
EXPORT int cuGetProcAddress_v2(const char *name, void **function, int cuda_version, uint64_t flags, int *status)
{
    NEED(name != NULL && function != NULL, CUDA_INVALID_VALUE);
    (void)cuda_version;
    (void)flags;
    Dl_info self;
    char versioned[128];
    *function = NULL;
    if (dladdr((const void *)errors, &self) != 0) {
        void *library = dlopen(self.dli_fname, RTLD_NOLOAD | RTLD_NOW);
        if (library != NULL) {
            snprintf(versioned, sizeof versioned, "%s_v2", name);
            *function = dlsym(library, versioned);
            if (*function == NULL)
                *function = dlsym(library, name);
            dlclose(library);
        }
    }
    if (status != NULL)
        *status = *function != NULL ? 0 : 1; /* found, or symbol not found */
    return *function != NULL ? CUDA_SUCCESS : CUDA_NOT_FOUND;
}

EXPORT int cuGetProcAddress(const char *name, void **function, int cuda_version, uint64_t flags)
{
    return cuGetProcAddress_v2(name, function, cuda_version, flags, NULL);
}
