/* SPDX-License-Identifier: Apache-2.0 */
/* Which machine and which devices. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "nvml.h"

EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    ENTER_SYSTEM(nvmlSystemGetDriverVersion);
    return nvml_text(session.state->driver_version, version, length);
}

EXPORT int nvmlSystemGetNVMLVersion(char *version, unsigned length)
{
    if (session_open() != 0) /* works before nvmlInit, as the header says */
        return NVML_DRIVER_NOT_LOADED;
    char text[sizeof session.state->nvml_version + sizeof session.state->driver_version];
    const char *api = session.state->nvml_version; /* its first number is the interface's, the rest the driver's */
    snprintf(text, sizeof text, "%.*s.%s", (int)strcspn(api, "."), api, library_version());
    return nvml_text(text, version, length);
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    ENTER_SYSTEM(nvmlSystemGetCudaDriverVersion_v2);
    NEED(version != NULL, NVML_INVALID_ARGUMENT);
    *version = (int)session.state->cuda_version;
    return NVML_SUCCESS;
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned length)
{
    ENTER_SYSTEM(nvmlSystemGetProcessName);
    NEED(name != NULL && length > 0, NVML_INVALID_ARGUMENT);
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    NEED(fd >= 0, NVML_NOT_FOUND);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    NEED(got > 0, NVML_NOT_FOUND);
    text[got] = '\0';
    snprintf(name, length, "%s", text); /* cut to fit, without an error */
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER_SYSTEM(nvmlDeviceGetCount_v2);
    NEED(count != NULL, NVML_INVALID_ARGUMENT);
    *count = nvml_visible_count();
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetCount(unsigned *count)
{
    return nvmlDeviceGetCount_v2(count);
}

static int reach(int index, nvmlDevice_t *device)
{
    if (LOAD(session.state->gpus[index].lost))
        return NVML_GPU_IS_LOST;
    switch (guard_open_gpu_node(index, 0)) {
    case 0:
        *device = nvml_handle(index);
        return NVML_SUCCESS;
    case EACCES:
    case EPERM:
        return NVML_NO_PERMISSION;
    default:
        return NVML_UNKNOWN;
    }
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    ENTER_SYSTEM(nvmlDeviceGetHandleByIndex_v2);
    int gpu = nvml_visible(index);
    NEED(device != NULL && gpu >= 0, NVML_INVALID_ARGUMENT);
    return reach(gpu, device);
}

EXPORT int nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    ENTER_SYSTEM(nvmlDeviceGetHandleByUUID);
    NEED(uuid != NULL && device != NULL, NVML_INVALID_ARGUMENT);
    for (unsigned i = 0; i < nvml_visible_count(); i++)
        if (strcasecmp(session.state->gpus[nvml_visible(i)].uuid, uuid) == 0)
            return reach(nvml_visible(i), device);
    return NVML_NOT_FOUND;
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
    ENTER_SYSTEM(nvmlDeviceGetHandleByPciBusId_v2);
    NEED(bus_id != NULL && device != NULL, NVML_INVALID_ARGUMENT);
    unsigned domain = 0, bus = 0, slot = 0;
    if (sscanf(bus_id, "%x:%x:%x", &domain, &bus, &slot) != 3) {
        domain = 0;
        NEED(sscanf(bus_id, "%x:%x", &bus, &slot) == 2, NVML_INVALID_ARGUMENT);
    }
    struct nvml_pci_info pci = {.domain = domain, .bus = bus, .device = slot};
    int gpu = nvml_gpu_by_pci(&pci);
    for (unsigned i = 0; gpu >= 0 && i < nvml_visible_count(); i++)
        if (nvml_visible(i) == gpu)
            return reach(gpu, device);
    return NVML_NOT_FOUND;
}

EXPORT int nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device)
{
    return nvmlDeviceGetHandleByPciBusId_v2(bus_id, device);
}

EXPORT int nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index)
{
    ENTER(nvmlDeviceGetIndex);
    NEED(index != NULL, NVML_INVALID_ARGUMENT);
    for (unsigned i = 0; i < nvml_visible_count(); i++)
        if (nvml_visible(i) == nvml_gpu_index(gpu)) {
            *index = i;
            return NVML_SUCCESS;
        }
    return NVML_INVALID_ARGUMENT;
}

#define NUMBER_GETTER(function, expression)                                                                      \
    EXPORT int function(nvmlDevice_t device, unsigned *value)                                                    \
    {                                                                                                            \
        ENTER(function);                                                                                         \
        NEED(value != NULL, NVML_INVALID_ARGUMENT);                                                              \
        *value = (unsigned)(expression);                                                                         \
        return NVML_SUCCESS;                                                                                     \
    }

#define TEXT_GETTER(function, field)                                                                             \
    EXPORT int function(nvmlDevice_t device, char *text, unsigned length)                                        \
    {                                                                                                            \
        ENTER(function);                                                                                         \
        return nvml_text(gpu->field, text, length);                                                              \
    }

NUMBER_GETTER(nvmlDeviceGetMinorNumber, gpu->minor_number)
NUMBER_GETTER(nvmlDeviceGetBrand, gpu->brand)
NUMBER_GETTER(nvmlDeviceGetArchitecture, gpu->architecture)
TEXT_GETTER(nvmlDeviceGetName, name)
TEXT_GETTER(nvmlDeviceGetUUID, uuid)
TEXT_GETTER(nvmlDeviceGetSerial, serial)
TEXT_GETTER(nvmlDeviceGetVbiosVersion, vbios_version)

EXPORT int nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    ENTER(nvmlDeviceGetCudaComputeCapability);
    NEED(major != NULL && minor != NULL, NVML_INVALID_ARGUMENT);
    *major = (int)gpu->compute_major;
    *minor = (int)gpu->compute_minor;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, struct nvml_pci_info *pci)
{
    ENTER(nvmlDeviceGetPciInfo_v3);
    NEED(pci != NULL, NVML_INVALID_ARGUMENT);
    memset(pci, 0, sizeof *pci);
    pci->domain = (unsigned)gpu->pci_domain;
    pci->bus = (unsigned)gpu->pci_bus;
    pci->pci_device_id = (unsigned)gpu->pci_device_id;
    pci->pci_subsystem_id = (unsigned)gpu->pci_subsystem_id;
    snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "%04X:%02X:00.0", pci->domain & 0xffff, pci->bus & 0xff);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%s", gpu->pci_bus_id);
    return NVML_SUCCESS;
}
