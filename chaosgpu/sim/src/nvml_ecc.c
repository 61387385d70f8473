/* SPDX-License-Identifier: Apache-2.0 */
/* Memory errors: ECC counters, remapped rows, retired pages. */
#define _GNU_SOURCE
#include <string.h>

#include "nvml.h"

enum { CORRECTED, UNCORRECTED };
enum { VOLATILE, AGGREGATE };
enum { DRAM_COUNTER, SRAM_COUNTER };
enum { L1 = 0, L2 = 1, DRAM = 2, REGISTERS = 3, SRAM = 7, LOCATIONS = 8 };
#define SRAM_STATUS_V1 0x1000068u
#define REMAP_BANKS 2560u

static uint64_t *counters(struct gpu *gpu, int error, int kind)
{
    if (kind == VOLATILE)
        return error == CORRECTED ? gpu->ecc_volatile_corrected : gpu->ecc_volatile_uncorrected;
    return error == CORRECTED ? gpu->ecc_aggregate_corrected : gpu->ecc_aggregate_uncorrected;
}

#define NEED_ECC() NEED(gpu->ecc_supported && LOAD(gpu->ecc_mode), NVML_NOT_SUPPORTED)

EXPORT int nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, int error, int kind, unsigned long long *count)
{
    ENTER(nvmlDeviceGetTotalEccErrors);
    NEED(count != NULL && (error | 1) == 1 && (kind | 1) == 1, NVML_INVALID_ARGUMENT);
    NEED_ECC();
    uint64_t *counter = counters(gpu, error, kind);
    *count = LOAD(counter[DRAM_COUNTER]) + LOAD(counter[SRAM_COUNTER]);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, int error, int kind, int location,
                                           unsigned long long *count)
{
    ENTER(nvmlDeviceGetMemoryErrorCounter);
    NEED(count != NULL && (error | 1) == 1 && (kind | 1) == 1, NVML_INVALID_ARGUMENT);
    NEED(location >= 0 && location < LOCATIONS, NVML_INVALID_ARGUMENT);
    NEED_ECC();
    NEED(location == DRAM || location == SRAM, NVML_NOT_SUPPORTED);
    *count = LOAD(counters(gpu, error, kind)[location == DRAM ? DRAM_COUNTER : SRAM_COUNTER]);
    return NVML_SUCCESS;
}

struct sram_status {
    unsigned version;
    unsigned long long aggregate_parity, aggregate_secded, aggregate_corrected;
    unsigned long long volatile_parity, volatile_secded, volatile_corrected;
    unsigned long long bucket_l2, bucket_sm, bucket_pcie, bucket_mcu, bucket_other;
    unsigned threshold_exceeded;
};

EXPORT int nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, struct sram_status *status)
{
    ENTER(nvmlDeviceGetSramEccErrorStatus);
    NEED(status != NULL, NVML_INVALID_ARGUMENT);
    NEED(status->version == SRAM_STATUS_V1, NVML_ARGUMENT_VERSION_MISMATCH);
    NEED_ECC();
    struct sram_status now;
    memset(&now, 0, sizeof now);
    now.version = SRAM_STATUS_V1;
    now.aggregate_secded = now.bucket_sm = LOAD(gpu->ecc_aggregate_uncorrected[SRAM_COUNTER]);
    now.aggregate_corrected = LOAD(gpu->ecc_aggregate_corrected[SRAM_COUNTER]);
    now.volatile_secded = LOAD(gpu->ecc_volatile_uncorrected[SRAM_COUNTER]);
    now.volatile_corrected = LOAD(gpu->ecc_volatile_corrected[SRAM_COUNTER]);
    now.threshold_exceeded = now.aggregate_secded >= 4; /* the catalogue's own bound for SRAM */
    *status = now;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceClearEccErrorCounts(nvmlDevice_t device, int kind)
{
    ENTER(nvmlDeviceClearEccErrorCounts);
    NEED((kind | 1) == 1, NVML_INVALID_ARGUMENT);
    NEED_ECC();
    NEED_ROOT();
    state_lock();
    for (int error = CORRECTED; error <= UNCORRECTED; error++)
        for (int place = DRAM_COUNTER; place <= SRAM_COUNTER; place++)
            STORE(counters(gpu, error, kind)[place], 0);
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *corrected, unsigned *uncorrected,
                                     unsigned *pending, unsigned *failure)
{
    ENTER(nvmlDeviceGetRemappedRows);
    NEED(corrected != NULL && uncorrected != NULL && pending != NULL && failure != NULL, NVML_INVALID_ARGUMENT);
    NEED(gpu->row_remap_supported, NVML_NOT_SUPPORTED);
    *corrected = (unsigned)LOAD(gpu->remapped_corrected);
    *uncorrected = (unsigned)LOAD(gpu->remapped_uncorrected);
    *pending = LOAD(gpu->remap_pending) != 0;
    *failure = LOAD(gpu->remap_failure) != 0;
    return NVML_SUCCESS;
}

struct histogram {
    unsigned max, high, partial, low, none;
};

EXPORT int nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, struct histogram *histogram)
{
    ENTER(nvmlDeviceGetRowRemapperHistogram);
    NEED(histogram != NULL, NVML_INVALID_ARGUMENT);
    NEED(gpu->row_remap_supported, NVML_NOT_SUPPORTED);
    unsigned used = (unsigned)(LOAD(gpu->remapped_corrected) + LOAD(gpu->remapped_uncorrected));
    used = used > REMAP_BANKS ? REMAP_BANKS : used; /* each remapped row in its own bank */
    unsigned exhausted = LOAD(gpu->remap_failure) != 0;
    *histogram = (struct histogram){.max = REMAP_BANKS - used, .high = used > exhausted ? used - exhausted : 0,
                                    .none = exhausted};
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetRetiredPages(nvmlDevice_t device, int cause, unsigned *count, unsigned long long *addresses)
{
    ENTER(nvmlDeviceGetRetiredPages);
    NEED(count != NULL && (cause | 1) == 1, NVML_INVALID_ARGUMENT);
    NEED(gpu->retired_pages_supported, NVML_NOT_SUPPORTED);
    unsigned have = (unsigned)(cause == 0 ? LOAD(gpu->retired_sbe) : LOAD(gpu->retired_dbe));
    int fits = have == 0 || (addresses != NULL && have <= *count);
    for (unsigned i = 0; fits && i < have; i++)
        addresses[i] = 0x1000ULL * (i + 1);
    *count = have;
    return fits ? NVML_SUCCESS : NVML_INSUFFICIENT_SIZE;
}

EXPORT int nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, int *pending)
{
    ENTER(nvmlDeviceGetRetiredPagesPendingStatus);
    NEED(pending != NULL, NVML_INVALID_ARGUMENT);
    NEED(gpu->retired_pages_supported, NVML_NOT_SUPPORTED);
    *pending = LOAD(gpu->retired_pending) != 0;
    return NVML_SUCCESS;
}
