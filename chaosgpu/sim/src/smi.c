/* SPDX-License-Identifier: Apache-2.0 */
/* An nvidia-smi for the queries and settings that playbooks use; it talks to whatever libnvidia-ml.so.1 is found. */
#define _GNU_SOURCE
#include "smi.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEVICES 64
enum { NO_PERMISSION = 4, NOT_FOUND = 6, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, LOST = 15, MISMATCH = 18, IN_USE = 19 };
enum { EXIT_ARGUMENT = 2, EXIT_DRIVER = 9, EXIT_NO_LIBRARY = 12, EXIT_LOST = 15 };

static void *library;

struct options {
    const char *id, *query_gpus, *query_apps, *format, *power, *lock, *persistence, *compute;
    int list, unlock;
    const char *drain_pci, *drain_state;
    int drain, drain_query;
};

void *smi_symbol(const char *name)
{
    void *function = dlsym(library, name);
    if (function == NULL) {
        printf("Function Not Found: %s\n", name);
        exit(13);
    }
    return function;
}

const char *smi_error(int code)
{
    return CALL(nvmlErrorString, const char *, (int), code);
}

static void start(void)
{
    library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (library == NULL) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display "
             "Driver is properly installed and present in your system.\n"
             "Please also try adding directory that contains libnvidia-ml.so to your system PATH.");
        exit(EXIT_NO_LIBRARY);
    }
    int code = CALL(nvmlInit_v2, int, (void));
    if (code == DRIVER_NOT_LOADED) {
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
             "NVIDIA driver is installed and running.\n");
        exit(EXIT_DRIVER);
    }
    if (code == MISMATCH) {
        char version[80] = "";
        CALL(nvmlSystemGetNVMLVersion, int, (char *, unsigned), version, sizeof version);
        char *major = strchr(version, '.'), *minor = major != NULL ? strchr(major + 1, '.') : NULL;
        printf("Failed to initialize NVML: Driver/library version mismatch\n");
        if (minor != NULL)
            printf("NVML library version: %.*s\n", (int)(strcspn(minor + 1, ".") + (size_t)(minor - major)), major + 1);
        exit(MISMATCH);
    }
    if (code != 0) {
        printf("Failed to initialize NVML: %s\n", smi_error(code));
        exit(code & 0xff ? code & 0xff : 1);
    }
}

static int by_id(const char *id, device_t *device)
{
    char *rest;
    unsigned long index = strtoul(id, &rest, 10);
    if (*id != '\0' && *rest == '\0')
        return CALL(nvmlDeviceGetHandleByIndex_v2, int, (unsigned, device_t *), (unsigned)index, device);
    if (strncmp(id, "GPU-", 4) == 0)
        return CALL(nvmlDeviceGetHandleByUUID, int, (const char *, device_t *), id, device);
    return CALL(nvmlDeviceGetHandleByPciBusId_v2, int, (const char *, device_t *), id, device);
}

/* The GPUs named by -i, or all. */
static unsigned choose(const char *ids, device_t *devices)
{
    unsigned count = 0, all = 0;
    if (ids != NULL) {
        char *copy = strdup(ids), *rest = copy, *id;
        while ((id = strsep(&rest, ",")) != NULL && count < MAX_DEVICES) {
            int code = by_id(id, &devices[count]);
            if (code == LOST) {
                printf("Unable to determine the device handle for GPU %s: GPU is lost.  Reboot the system to recover "
                       "this GPU\n", id);
                exit(EXIT_LOST);
            }
            if (code != 0) {
                puts("No devices were found");
                exit(NOT_FOUND);
            }
            count++;
        }
        free(copy);
        return count;
    }
    CALL(nvmlDeviceGetCount_v2, int, (unsigned *), &all);
    for (unsigned i = 0; i < all && count < MAX_DEVICES; i++) {
        int code = CALL(nvmlDeviceGetHandleByIndex_v2, int, (unsigned, device_t *), i, &devices[count]);
        if (code == LOST) {
            printf("Unable to determine the device handle for GPU%u: GPU is lost.  Reboot the system to recover this "
                   "GPU\n", i);
            exit(EXIT_LOST);
        }
        count += code == 0;
    }
    if (count == 0) {
        puts("No devices were found");
        exit(NOT_FOUND);
    }
    return count;
}

static const char *bus_of(device_t device)
{
    static struct pci pci;
    memset(&pci, 0, sizeof pci);
    GET(nvmlDeviceGetPciInfo_v3, device, struct pci, &pci);
    return pci.bus_id;
}

/* Report what a setting came to; the exit code of the whole is the first failure's. */
static int report(int code, const char *what, device_t device)
{
    if (code == 0)
        printf("%s for GPU %s.\nAll done.\n", what, bus_of(device));
    else if (code == NO_PERMISSION)
        printf("%s failed for GPU %s: Insufficient Permissions\nTerminating early due to previous errors.\n", what,
               bus_of(device));
    else
        printf("%s is refused for GPU %s: %s\nTreating as warning and moving on.\n", what, bus_of(device),
               smi_error(code));
    return code;
}

static int set_power(const char *watts, device_t device)
{
    unsigned low = 0, high = 0;
    double wanted = strtod(watts, NULL);
    CALL(nvmlDeviceGetPowerManagementLimitConstraints, int, (device_t, unsigned *, unsigned *), device, &low, &high);
    if (high != 0 && (wanted * 1000 < low || wanted * 1000 > high)) {
        printf("Provided power limit %.2f W is not a valid power limit which should be between %.2f W and %.2f W for "
               "GPU %s\nTerminating early due to previous errors.\n", wanted, low / 1000.0, high / 1000.0,
               bus_of(device));
        return EXIT_ARGUMENT;
    }
    return report(CALL(nvmlDeviceSetPowerManagementLimit, int, (device_t, unsigned), device, (unsigned)(wanted * 1000)),
                  "Setting the power limit", device);
}

static int set_lock(const char *range, device_t device)
{
    unsigned low = 0, high = 0;
    int parts = sscanf(range, "%u,%u", &low, &high);
    if (parts < 1) {
        puts("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.");
        return EXIT_ARGUMENT;
    }
    high = parts == 2 ? high : low;
    return report(CALL(nvmlDeviceSetGpuLockedClocks, int, (device_t, unsigned, unsigned), device, low, high),
                  "Setting the locked clocks", device);
}

static int compute_mode(const char *mode)
{
    static const char *const names[] = {"DEFAULT", "EXCLUSIVE_THREAD", "PROHIBITED", "EXCLUSIVE_PROCESS"};
    for (int i = 0; i < 4; i++)
        if (strcmp(mode, names[i]) == 0 || (mode[0] == '0' + i && mode[1] == '\0'))
            return i;
    return -1;
}

static int apply(const struct options *options, device_t device)
{
    if (options->persistence != NULL)
        return report(CALL(nvmlDeviceSetPersistenceMode, int, (device_t, int), device,
                           strcmp(options->persistence, "1") == 0 || strcmp(options->persistence, "ENABLED") == 0),
                      "Setting persistence mode", device);
    if (options->power != NULL)
        return set_power(options->power, device);
    if (options->lock != NULL)
        return set_lock(options->lock, device);
    if (options->unlock)
        return report(CALL(nvmlDeviceResetGpuLockedClocks, int, (device_t), device), "Resetting the locked clocks",
                      device);
    return report(CALL(nvmlDeviceSetComputeMode, int, (device_t, int), device, compute_mode(options->compute)),
                  "Setting the compute mode", device);
}

static int drain(const struct options *options)
{
    struct pci pci = {0};
    const char *bus = options->drain_pci;
    if (bus == NULL || (options->drain_state == NULL && !options->drain_query)
        || (sscanf(bus, "%x:%x:%x", &pci.domain, &pci.bus, &pci.device) != 3)) {
        puts("Invalid combination of input arguments. Please run 'nvidia-smi drain -h' for help.");
        return EXIT_ARGUMENT;
    }
    int state = 0, code;
    if (options->drain_query) {
        code = CALL(nvmlDeviceQueryDrainState, int, (struct pci *, int *), &pci, &state);
        if (code == 0)
            printf("The current drain state of GPU %s is: %s.\n", bus, state ? "draining" : "not draining");
    } else {
        state = strcmp(options->drain_state, "1") == 0;
        code = CALL(nvmlDeviceModifyDrainState, int, (struct pci *, int), &pci, state);
        if (code == 0)
            printf("Successfully set GPU %s drain state to: %s.\n", bus, state ? "draining" : "not draining");
    }
    if (code != 0)
        printf("Failed to %s the drain state of GPU %s: %s\n", options->drain_query ? "read" : "set", bus,
               smi_error(code));
    return code;
}

/* The value of `--name=value`, `--name value` or `-x value`; NULL when this argument is another. */
static const char *valued(const char *name, char **argv, int *at)
{
    size_t length = strlen(name);
    if (strncmp(argv[*at], name, length) != 0)
        return NULL;
    if (argv[*at][length] == '=')
        return argv[*at] + length + 1;
    if (argv[*at][length] != '\0' || argv[*at + 1] == NULL)
        return NULL;
    return argv[++*at];
}

static int parse_one(struct options *options, char **argv, int *at)
{
    struct {
        const char *name, **into;
    } known[] = {
        {"-i", &options->id},           {"--id", &options->id},
        {"--query-gpu", &options->query_gpus}, {"--query-compute-apps", &options->query_apps},
        {"--format", &options->format}, {"-pl", &options->power},
        {"--power-limit", &options->power}, {"-lgc", &options->lock},
        {"--lock-gpu-clocks", &options->lock}, {"-pm", &options->persistence},
        {"--persistence-mode", &options->persistence}, {"-c", &options->compute},
        {"--compute-mode", &options->compute}, {"-p", &options->drain_pci},
        {"--pciid", &options->drain_pci}, {"-m", &options->drain_state},
        {"--modify", &options->drain_state},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *value = valued(known[i].name, argv, at);
        if (value != NULL) {
            *known[i].into = value;
            return 0;
        }
    }
    if (strcmp(argv[*at], "-L") == 0 || strcmp(argv[*at], "--list-gpus") == 0)
        options->list = 1;
    else if (strcmp(argv[*at], "-rgc") == 0 || strcmp(argv[*at], "--reset-gpu-clocks") == 0)
        options->unlock = 1;
    else if (strcmp(argv[*at], "drain") == 0)
        options->drain = 1;
    else if (options->drain && (strcmp(argv[*at], "-q") == 0 || strcmp(argv[*at], "--query") == 0))
        options->drain_query = 1;
    else
        return -1;
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    for (int at = 1; at < argc; at++)
        if (parse_one(&options, argv, &at) != 0) {
            printf("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n"
                   "Option \"%s\" is not recognized.\n", argv[at]);
            return EXIT_ARGUMENT;
        }
    if ((options.query_gpus != NULL || options.query_apps != NULL)
        && (options.format == NULL || strncmp(options.format, "csv", 3) != 0)) {
        puts("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.");
        return EXIT_ARGUMENT;
    }
    if (options.compute != NULL && compute_mode(options.compute) < 0) {
        puts("Invalid compute mode. Please run 'nvidia-smi -h' for help.");
        return EXIT_ARGUMENT;
    }
    start();
    if (options.drain)
        return drain(&options);
    device_t devices[MAX_DEVICES];
    unsigned count = choose(options.id, devices);
    int code = 0;
    if (options.query_gpus != NULL)
        return smi_query_gpus(options.query_gpus, options.format, devices, count);
    if (options.query_apps != NULL)
        return smi_query_apps(options.query_apps, options.format, devices, count);
    if (options.power || options.lock || options.unlock || options.persistence || options.compute) {
        for (unsigned i = 0; i < count && code == 0; i++)
            code = apply(&options, devices[i]);
        return code;
    }
    if (options.list)
        smi_list(devices, count);
    else
        smi_table(devices, count);
    return 0;
}
