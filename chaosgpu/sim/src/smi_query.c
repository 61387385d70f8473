/* SPDX-License-Identifier: Apache-2.0 */
/* The queries in CSV. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smi.h"

#define WIDTH 128
#define MIB (1024ull * 1024ull)

struct output {
    int header, units;
};

static const char UNKNOWN[] = "[N/A]";

static void parse_format(const char *format, struct output *out)
{
    out->header = strstr(format, "noheader") == NULL;
    out->units = strstr(format, "nounits") == NULL;
}

static int uint_of(const char *function, device_t device, char *into, double divide, const char *format)
{
    unsigned value = 0;
    int code = ((int (*)(device_t, unsigned *))smi_symbol(function))(device, &value);
    if (code != 0)
        return code;
    if (divide > 1)
        snprintf(into, WIDTH, format, value / divide);
    else
        snprintf(into, WIDTH, "%u", value);
    return 0;
}

static int text_of(const char *function, device_t device, char *into)
{
    return ((int (*)(device_t, char *, unsigned))smi_symbol(function))(device, into, WIDTH);
}

static int clock_of(const char *function, device_t device, int kind, char *into)
{
    unsigned mhz = 0;
    int code = ((int (*)(device_t, int, unsigned *))smi_symbol(function))(device, kind, &mhz);
    snprintf(into, WIDTH, "%u", mhz);
    return code;
}

static int memory_of(device_t device, const char *part, char *into)
{
    struct {
        unsigned version;
        unsigned long long total, reserved, free, used;
    } memory = {.version = 0x02000028u};
    int code = CALL(nvmlDeviceGetMemoryInfo_v2, int, (device_t, void *), device, &memory);
    unsigned long long bytes = strcmp(part, "total") == 0      ? memory.total
                               : strcmp(part, "used") == 0     ? memory.used
                               : strcmp(part, "reserved") == 0 ? memory.reserved
                                                               : memory.free;
    snprintf(into, WIDTH, "%llu", bytes / MIB);
    return code;
}

static int limits_of(device_t device, int high, char *into)
{
    unsigned low_mw = 0, high_mw = 0;
    int code = CALL(nvmlDeviceGetPowerManagementLimitConstraints, int, (device_t, unsigned *, unsigned *), device,
                    &low_mw, &high_mw);
    snprintf(into, WIDTH, "%.2f", (high ? high_mw : low_mw) / 1000.0);
    return code;
}

static int pair_of(const char *function, device_t device, int second, char *into)
{
    unsigned now = 0, pending = 0;
    int code = ((int (*)(device_t, unsigned *, unsigned *))smi_symbol(function))(device, &now, &pending);
    snprintf(into, WIDTH, "%s", (second ? pending : now) ? "Enabled" : "Disabled");
    return code;
}

static int ecc_of(device_t device, int error, int kind, char *into)
{
    unsigned long long count = 0;
    int code = CALL(nvmlDeviceGetTotalEccErrors, int, (device_t, int, int, unsigned long long *), device, error, kind,
                    &count);
    snprintf(into, WIDTH, "%llu", count);
    return code;
}

static int rows_of(device_t device, int which, char *into)
{
    unsigned rows[4] = {0};
    int code = CALL(nvmlDeviceGetRemappedRows, int, (device_t, unsigned *, unsigned *, unsigned *, unsigned *), device,
                    &rows[0], &rows[1], &rows[2], &rows[3]);
    if (which < 2)
        snprintf(into, WIDTH, "%u", rows[which]);
    else
        snprintf(into, WIDTH, "%s", rows[which] ? "Yes" : "No");
    return code;
}

static int utilization_of(device_t device, int memory, char *into)
{
    unsigned rates[2] = {0};
    int code = CALL(nvmlDeviceGetUtilizationRates, int, (device_t, void *), device, rates);
    snprintf(into, WIDTH, "%u", rates[memory]);
    return code;
}

static int reasons_of(device_t device, char *into)
{
    unsigned long long reasons = 0;
    int code = GET(nvmlDeviceGetCurrentClocksEventReasons, device, unsigned long long, &reasons);
    snprintf(into, WIDTH, "0x%016llX", reasons);
    return code;
}

static int compute_mode_of(device_t device, char *into)
{
    static const char *const names[] = {"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process"};
    int mode = 0, code = GET(nvmlDeviceGetComputeMode, device, int, &mode);
    snprintf(into, WIDTH, "%s", names[mode & 3]);
    return code;
}

static int capability_of(device_t device, char *into)
{
    int major = 0, minor = 0;
    int code = CALL(nvmlDeviceGetCudaComputeCapability, int, (device_t, int *, int *), device, &major, &minor);
    snprintf(into, WIDTH, "%d.%d", major, minor);
    return code;
}

static int persistence_of(device_t device, char *into)
{
    int mode = 0, code = GET(nvmlDeviceGetPersistenceMode, device, int, &mode);
    snprintf(into, WIDTH, "%s", mode ? "Enabled" : "Disabled");
    return code;
}

static int pci_of(device_t device, char *into)
{
    struct pci pci = {0};
    int code = GET(nvmlDeviceGetPciInfo_v3, device, struct pci, &pci);
    snprintf(into, WIDTH, "%s", pci.bus_id);
    return code;
}

static int driver_of(char *into)
{
    return CALL(nvmlSystemGetDriverVersion, int, (char *, unsigned), into, WIDTH);
}

static int count_of(char *into)
{
    unsigned count = 0;
    int code = CALL(nvmlDeviceGetCount_v2, int, (unsigned *), &count);
    snprintf(into, WIDTH, "%u", count);
    return code;
}

static int pstate_of(device_t device, char *into)
{
    int state = 0, code = GET(nvmlDeviceGetPerformanceState, device, int, &state);
    snprintf(into, WIDTH, "P%d", state);
    return code;
}

static int timestamp(char *into)
{
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    return strftime(into, WIDTH, "%Y/%m/%d %H:%M:%S.000", &local) == 0;
}

static int temperature_of(device_t device, char *into)
{
    return clock_of("nvmlDeviceGetTemperature", device, 0, into);
}

#define IS(text) (strcmp(field, text) == 0)

/* The value of one field, and its unit; -1 for a field that nvidia-smi does not know. */
static int value_of(device_t device, const char *field, char *into, const char **unit)
{
    *unit = "";
    if (IS("timestamp"))
        return timestamp(into);
    if (IS("count"))
        return count_of(into);
    if (IS("driver_version"))
        return driver_of(into);
    if (IS("name") || IS("gpu_name"))
        return text_of("nvmlDeviceGetName", device, into);
    if (IS("uuid") || IS("gpu_uuid"))
        return text_of("nvmlDeviceGetUUID", device, into);
    if (IS("serial") || IS("gpu_serial"))
        return text_of("nvmlDeviceGetSerial", device, into);
    if (IS("vbios_version"))
        return text_of("nvmlDeviceGetVbiosVersion", device, into);
    if (IS("index"))
        return uint_of("nvmlDeviceGetIndex", device, into, 1, NULL);
    if (IS("pci.bus_id") || IS("gpu_bus_id"))
        return pci_of(device, into);
    if (IS("pstate"))
        return pstate_of(device, into);
    if (IS("compute_cap"))
        return capability_of(device, into);
    if (IS("persistence_mode"))
        return persistence_of(device, into);
    if (IS("compute_mode"))
        return compute_mode_of(device, into);
    if (IS("ecc.mode.current") || IS("ecc.mode.pending"))
        return pair_of("nvmlDeviceGetEccMode", device, IS("ecc.mode.pending"), into);
    if (IS("mig.mode.current") || IS("mig.mode.pending"))
        return pair_of("nvmlDeviceGetMigMode", device, IS("mig.mode.pending"), into);
    if (IS("ecc.errors.corrected.volatile.total"))
        return ecc_of(device, 0, 0, into);
    if (IS("ecc.errors.uncorrected.volatile.total"))
        return ecc_of(device, 1, 0, into);
    if (IS("ecc.errors.corrected.aggregate.total"))
        return ecc_of(device, 0, 1, into);
    if (IS("ecc.errors.uncorrected.aggregate.total"))
        return ecc_of(device, 1, 1, into);
    if (IS("remapped_rows.correctable"))
        return rows_of(device, 0, into);
    if (IS("remapped_rows.uncorrectable"))
        return rows_of(device, 1, into);
    if (IS("remapped_rows.pending"))
        return rows_of(device, 2, into);
    if (IS("remapped_rows.failure"))
        return rows_of(device, 3, into);
    if (IS("clocks_throttle_reasons.active") || IS("clocks_event_reasons.active"))
        return reasons_of(device, into);
    if (IS("pcie.link.gen.current") || IS("pcie.link.gen.gpucurrent"))
        return uint_of("nvmlDeviceGetCurrPcieLinkGeneration", device, into, 1, NULL);
    if (IS("pcie.link.gen.max") || IS("pcie.link.gen.gpumax"))
        return uint_of("nvmlDeviceGetMaxPcieLinkGeneration", device, into, 1, NULL);
    if (IS("pcie.link.width.current"))
        return uint_of("nvmlDeviceGetCurrPcieLinkWidth", device, into, 1, NULL);
    if (IS("pcie.link.width.max"))
        return uint_of("nvmlDeviceGetMaxPcieLinkWidth", device, into, 1, NULL);
    if (IS("temperature.gpu"))
        return temperature_of(device, into);
    *unit = " MiB";
    if (strncmp(field, "memory.", 7) == 0 && strstr("total used free reserved", field + 7) != NULL && field[7] != '\0')
        return memory_of(device, field + 7, into);
    *unit = " %";
    if (IS("utilization.gpu") || IS("utilization.memory"))
        return utilization_of(device, IS("utilization.memory"), into);
    if (IS("fan.speed"))
        return uint_of("nvmlDeviceGetFanSpeed", device, into, 1, NULL);
    *unit = " W";
    if (IS("power.draw") || IS("power.draw.instant"))
        return uint_of("nvmlDeviceGetPowerUsage", device, into, 1000, "%.2f");
    if (IS("power.limit"))
        return uint_of("nvmlDeviceGetPowerManagementLimit", device, into, 1000, "%.2f");
    if (IS("enforced.power.limit"))
        return uint_of("nvmlDeviceGetEnforcedPowerLimit", device, into, 1000, "%.2f");
    if (IS("power.default_limit"))
        return uint_of("nvmlDeviceGetPowerManagementDefaultLimit", device, into, 1000, "%.2f");
    if (IS("power.min_limit") || IS("power.max_limit"))
        return limits_of(device, IS("power.max_limit"), into);
    *unit = " MHz";
    if (IS("clocks.sm") || IS("clocks.current.sm"))
        return clock_of("nvmlDeviceGetClockInfo", device, 1, into);
    if (IS("clocks.gr") || IS("clocks.current.graphics"))
        return clock_of("nvmlDeviceGetClockInfo", device, 0, into);
    if (IS("clocks.mem") || IS("clocks.current.memory"))
        return clock_of("nvmlDeviceGetClockInfo", device, 2, into);
    if (IS("clocks.max.sm"))
        return clock_of("nvmlDeviceGetMaxClockInfo", device, 1, into);
    if (IS("clocks.max.gr") || IS("clocks.max.graphics"))
        return clock_of("nvmlDeviceGetMaxClockInfo", device, 0, into);
    if (IS("clocks.max.mem") || IS("clocks.max.memory"))
        return clock_of("nvmlDeviceGetMaxClockInfo", device, 2, into);
    return -1;
}

static void header_of(const char *field, const char *unit, const struct output *out)
{
    int has_unit = unit[0] != '\0';
    if (IS("clocks.sm") || IS("clocks.gr") || IS("clocks.mem")) /* headed by their long names */
        field = IS("clocks.sm") ? "clocks.current.sm" : IS("clocks.gr") ? "clocks.current.graphics" : "clocks.current.memory";
    printf("%s%s%s%s", field, has_unit && out->units ? " [" : "", has_unit && out->units ? unit + 1 : "",
           has_unit && out->units ? "]" : "");
}

int smi_query_gpus(const char *fields, const char *format, const device_t *devices, unsigned count)
{
    struct output out;
    parse_format(format, &out);
    for (unsigned row = 0; row < count + (unsigned)out.header; row++) {
        char *copy = strdup(fields), *rest = copy, *field;
        const char *between = "";
        while ((field = strsep(&rest, ",")) != NULL) {
            char value[WIDTH] = "";
            const char *unit;
            int heading = out.header && row == 0;
            field += strspn(field, " ");
            int code = value_of(count ? devices[heading ? 0 : row - (unsigned)out.header] : NULL, field, value, &unit);
            if (code < 0) {
                printf("Field \"%s\" is not a valid field to query.\n\n", field);
                free(copy);
                return 2;
            }
            fputs(between, stdout);
            between = ", ";
            if (heading)
                header_of(field, unit, &out);
            else if (code != 0)
                printf("%s", code == 3 ? UNKNOWN : code == 15 ? "[GPU is lost]" : "[Unknown Error]");
            else
                printf("%s%s", value, out.units ? unit : "");
        }
        putchar('\n');
        free(copy);
    }
    return 0;
}

static int app_field(device_t device, const struct process *app, const char *field, char *into, const char **unit)
{
    *unit = "";
    if (IS("pid")) {
        snprintf(into, WIDTH, "%u", app->pid);
        return 0;
    }
    if (IS("used_memory") || IS("used_gpu_memory")) {
        *unit = " MiB";
        snprintf(into, WIDTH, "%llu", app->used_memory / MIB);
        return 0;
    }
    if (IS("process_name") || IS("name"))
        return CALL(nvmlSystemGetProcessName, int, (unsigned, char *, unsigned), app->pid, into, WIDTH);
    if (IS("gpu_name") || IS("gpu_uuid") || IS("gpu_bus_id") || IS("gpu_serial"))
        return value_of(device, field, into, unit);
    return -1;
}

static int app_row(device_t device, const struct process *app, const char *fields, const struct output *out, int heading)
{
    char *copy = strdup(fields), *rest = copy, *field;
    const char *between = "";
    while ((field = strsep(&rest, ",")) != NULL) {
        char value[WIDTH] = "";
        const char *unit;
        field += strspn(field, " ");
        int code = app_field(device, app, field, value, &unit);
        if (code < 0) {
            printf("Field \"%s\" is not a valid field to query.\n\n", field);
            free(copy);
            return 2;
        }
        fputs(between, stdout);
        between = ", ";
        if (heading)
            header_of(field, unit, out);
        else
            printf("%s%s", code == 0 ? value : "[Not Found]", code == 0 && out->units ? unit : "");
    }
    putchar('\n');
    free(copy);
    return 0;
}

int smi_query_apps(const char *fields, const char *format, const device_t *devices, unsigned count)
{
    struct output out;
    struct process apps[512], nobody = {0};
    parse_format(format, &out);
    if (out.header) {
        int refused = app_row(devices[0], &nobody, fields, &out, 1);
        if (refused != 0)
            return refused;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned found = sizeof apps / sizeof apps[0];
        if (CALL(nvmlDeviceGetComputeRunningProcesses_v3, int, (device_t, unsigned *, struct process *), devices[i],
                 &found, apps) != 0)
            continue;
        for (unsigned app = 0; app < found; app++) {
            int refused = app_row(devices[i], &apps[app], fields, &out, 0);
            if (refused != 0)
                return refused;
        }
    }
    return 0;
}
