/* SPDX-License-Identifier: Apache-2.0 */
/* The list of GPUs, and a short form of the well-known table. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "smi.h"

#define MIB (1024ull * 1024ull)

void smi_list(const device_t *devices, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[96] = "", uuid[96] = "";
        unsigned index = 0;
        CALL(nvmlDeviceGetName, int, (device_t, char *, unsigned), devices[i], name, sizeof name);
        int code = CALL(nvmlDeviceGetUUID, int, (device_t, char *, unsigned), devices[i], uuid, sizeof uuid);
        GET(nvmlDeviceGetIndex, devices[i], unsigned, &index);
        if (code != 0)
            printf("Unable to determine the device handle for gpu %u: %s\n", i, smi_error(code));
        else
            printf("GPU %u: %s (UUID: %s)\n", index, name, uuid);
    }
}

static void row(device_t device)
{
    char name[96] = "";
    struct pci pci = {0};
    struct {
        unsigned long long total, free, used;
    } memory = {0};
    unsigned index = 0, celsius = 0, milliwatts = 0, limit = 0, rates[2] = {0};
    int persistence = 0, state = 0, mode = 0;
    static const char *const modes[] = {"Default", "E. Thread", "Prohibited", "E. Process"};
    GET(nvmlDeviceGetIndex, device, unsigned, &index);
    int code = CALL(nvmlDeviceGetName, int, (device_t, char *, unsigned), device, name, sizeof name);
    if (code != 0) {
        printf("|   ?  %-72.72s|\n", smi_error(code));
        return;
    }
    GET(nvmlDeviceGetPciInfo_v3, device, struct pci, &pci);
    CALL(nvmlDeviceGetMemoryInfo, int, (device_t, void *), device, &memory);
    CALL(nvmlDeviceGetTemperature, int, (device_t, int, unsigned *), device, 0, &celsius);
    GET(nvmlDeviceGetPowerUsage, device, unsigned, &milliwatts);
    GET(nvmlDeviceGetPowerManagementLimit, device, unsigned, &limit);
    CALL(nvmlDeviceGetUtilizationRates, int, (device_t, void *), device, rates);
    GET(nvmlDeviceGetPersistenceMode, device, int, &persistence);
    GET(nvmlDeviceGetPerformanceState, device, int, &state);
    GET(nvmlDeviceGetComputeMode, device, int, &mode);
    printf("| %3u  %-26.26s %3s  | %16s |                      |\n", index, name, persistence ? "On" : "Off",
           pci.bus_id);
    printf("| N/A  %3uC    P%d  %6uW / %4uW  | %6lluMiB / %6lluMiB | %5u%%  %12s |\n", celsius, state,
           milliwatts / 1000, limit / 1000, memory.used / MIB, memory.total / MIB, rates[0], modes[mode & 3]);
}

static void processes(const device_t *devices, unsigned count)
{
    unsigned shown = 0;
    printf("| Processes:%68s|\n", "");
    for (unsigned i = 0; i < count; i++) {
        struct process apps[256];
        unsigned found = sizeof apps / sizeof apps[0], index = 0;
        if (CALL(nvmlDeviceGetComputeRunningProcesses_v3, int, (device_t, unsigned *, struct process *), devices[i],
                 &found, apps) != 0)
            continue;
        GET(nvmlDeviceGetIndex, devices[i], unsigned, &index);
        for (unsigned app = 0; app < found; app++, shown++) {
            char name[256] = "";
            CALL(nvmlSystemGetProcessName, int, (unsigned, char *, unsigned), apps[app].pid, name, sizeof name);
            printf("| %4u  %9u    C   %-46.46s %6lluMiB |\n", index, apps[app].pid, name, apps[app].used_memory / MIB);
        }
    }
    if (shown == 0)
        printf("|  No running processes found%51s|\n", "");
}

void smi_table(const device_t *devices, unsigned count)
{
    char driver[80] = "", now[64];
    int cuda = 0;
    time_t at = time(NULL);
    struct tm local;
    localtime_r(&at, &local);
    strftime(now, sizeof now, "%a %b %e %H:%M:%S %Y", &local);
    CALL(nvmlSystemGetDriverVersion, int, (char *, unsigned), driver, sizeof driver);
    CALL(nvmlSystemGetCudaDriverVersion_v2, int, (int *), &cuda);
    printf("%s\n", now);
    printf("| NVIDIA-SMI (simulated)   Driver Version: %-16s CUDA Version: %d.%d |\n", driver, cuda / 1000,
           cuda % 1000 / 10);
    for (unsigned i = 0; i < count; i++)
        row(devices[i]);
    processes(devices, count);
}
