/* SPDX-License-Identifier: Apache-2.0 */
/* Readings by number. Each field has its own return code; the call as a whole succeeds. */
#define _GNU_SOURCE
#include <string.h>
#include <time.h>

#include "nvml.h"
#include "physics.h"

enum { DRAM_COUNTER, SRAM_COUNTER };
enum { AS_UNSIGNED = 1, AS_LONG_LONG = 3, AS_SIGNED = 5 };

struct field_value {
    uint32_t field, scope;
    int64_t at_us, latency_us;
    int type, result;
    union {
        double number;
        unsigned word;
        unsigned long long long_word;
        int signed_word;
    } value;
};

static int give(struct field_value *out, uint64_t value)
{
    out->type = AS_UNSIGNED;
    out->value.word = (unsigned)value;
    return NVML_SUCCESS;
}

static int give_long(struct field_value *out, uint64_t value)
{
    out->type = AS_LONG_LONG;
    out->value.long_word = value;
    return NVML_SUCCESS;
}

static int give_signed(struct field_value *out, int value)
{
    out->type = AS_SIGNED;
    out->value.signed_word = value;
    return NVML_SUCCESS;
}

static uint64_t sum(const uint64_t *counters, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += LOAD(counters[i]);
    return total;
}

static int modes_and_memory(struct gpu *gpu, struct field_value *out)
{
    int ecc = gpu->ecc_supported && LOAD(gpu->ecc_mode);
    switch (out->field) {
    case 1:
        NEED(gpu->ecc_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->ecc_mode));
    case 2:
        NEED(gpu->ecc_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->ecc_pending));
    case 3:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->ecc_volatile_corrected, 2));
    case 4:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->ecc_volatile_uncorrected, 2));
    case 5:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->ecc_aggregate_corrected, 2));
    case 6:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->ecc_aggregate_uncorrected, 2));
    case 11:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, LOAD(gpu->ecc_volatile_corrected[DRAM_COUNTER]));
    case 12:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, LOAD(gpu->ecc_volatile_uncorrected[DRAM_COUNTER]));
    case 22:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, LOAD(gpu->ecc_aggregate_corrected[DRAM_COUNTER]));
    case 23:
        NEED(ecc, NVML_NOT_SUPPORTED);
        return give_long(out, LOAD(gpu->ecc_aggregate_uncorrected[DRAM_COUNTER]));
    case 29:
        NEED(gpu->retired_pages_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->retired_sbe));
    case 30:
        NEED(gpu->retired_pages_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->retired_dbe));
    case 31:
        NEED(gpu->retired_pages_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->retired_pending));
    case 142:
        NEED(gpu->row_remap_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->remapped_corrected));
    case 143:
        NEED(gpu->row_remap_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->remapped_uncorrected));
    case 144:
        NEED(gpu->row_remap_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->remap_pending));
    case 145:
        NEED(gpu->row_remap_supported, NVML_NOT_SUPPORTED);
        return give(out, LOAD(gpu->remap_failure));
    case 230:
        return give(out, LOAD(gpu->recovery_action));
    default:
        return -1;
    }
}

static int links(struct gpu *gpu, struct field_value *out)
{
    uint32_t link = out->scope;
    int has_link = link < gpu->nvlink_links;
    switch (out->field) {
    case 38:
        NEED(gpu->nvlink_links, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->nvlink_crc_flit_errors, MAX_LINKS));
    case 45:
        NEED(gpu->nvlink_links, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->nvlink_crc_data_errors, MAX_LINKS));
    case 52:
        NEED(gpu->nvlink_links, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->nvlink_replay_errors, MAX_LINKS));
    case 59:
        NEED(gpu->nvlink_links, NVML_NOT_SUPPORTED);
        return give_long(out, sum(gpu->nvlink_recovery_errors, MAX_LINKS));
    case 90:
    case 164:
        NEED(gpu->nvlink_links && (out->field == 90 || has_link), NVML_NOT_SUPPORTED);
        return give(out, gpu->nvlink_mbps);
    case 91:
        NEED(gpu->nvlink_links, NVML_NOT_SUPPORTED);
        return give(out, gpu->nvlink_links);
    case 94:
    case 95:
        return give(out, out->field == 94 ? LOAD(gpu->pcie_replays) : 0);
    case 161:
        NEED(has_link, NVML_NOT_SUPPORTED);
        return give_long(out, LOAD(gpu->nvlink_replay_errors[link]));
    case 162:
        NEED(has_link, NVML_NOT_SUPPORTED);
        return give_long(out, LOAD(gpu->nvlink_recovery_errors[link]));
    case 163:
        NEED(has_link, NVML_NOT_SUPPORTED);
        return give_long(out, LOAD(gpu->nvlink_crc_flit_errors[link]));
    case 165:
        NEED(has_link, NVML_NOT_SUPPORTED);
        return give(out, !(LOAD(gpu->nvlink_down_mask) >> link & 1));
    default:
        return -1;
    }
}

static int power_and_heat(struct gpu *gpu, struct field_value *out, const struct physics *now)
{
    switch (out->field) {
    case 74:
        return give_long(out, (uint64_t)now->violation_ns[POLICY_POWER]);
    case 75:
        return give_long(out, (uint64_t)(now->violation_ns[POLICY_SW_THERMAL] + now->violation_ns[POLICY_HW_THERMAL]));
    case 76:
    case 77:
    case 78:
    case 79:
        return give_long(out, 0);
    case 82:
        NEED(gpu->memory_max_celsius, NVML_NOT_SUPPORTED); /* only HBM parts say how hot their memory is */
        return give(out, (uint64_t)(now->celsius + 8.5));
    case 83:
    case 191:
        return give_long(out, (uint64_t)now->energy_mj);
    case 185:
    case 186:
        return give(out, (uint64_t)now->power_mw);
    case 187:
        return give(out, gpu->power_min_mw);
    case 188:
        return give(out, gpu->power_max_mw);
    case 189:
        return give(out, gpu->power_default_mw);
    case 190:
    case 192:
        return give(out, LOAD(gpu->power_limit_mw));
    case 193:
        return give_signed(out, (int)gpu->gpu_max_celsius - (int)gpu->shutdown_celsius);
    case 194:
        return give_signed(out, (int)gpu->gpu_max_celsius - (int)gpu->slowdown_celsius);
    case 195:
        NEED(gpu->memory_max_celsius, NVML_NOT_SUPPORTED);
        return give_signed(out, 0);
    case 196:
        return give_signed(out, 0);
    case 269:
        return give_long(out, (uint64_t)now->violation_ns[POLICY_SW_THERMAL]);
    case 270:
        return give_long(out, (uint64_t)now->violation_ns[POLICY_HW_THERMAL]);
    case 271:
        return give_long(out, (uint64_t)now->violation_ns[POLICY_POWER_BRAKE]);
    default:
        return NVML_NOT_SUPPORTED;
    }
}

EXPORT int nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, struct field_value *values)
{
    ENTER(nvmlDeviceGetFieldValues);
    NEED(count > 0 && values != NULL, NVML_INVALID_ARGUMENT);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    struct physics now = physics_read(nvml_gpu_index(gpu));
    for (int i = 0; i < count; i++) {
        struct field_value *out = &values[i];
        memset(&out->value, 0, sizeof out->value);
        out->at_us = (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000;
        out->latency_us = 1;
        out->type = AS_UNSIGNED;
        out->result = modes_and_memory(gpu, out);
        if (out->result < 0)
            out->result = links(gpu, out);
        if (out->result < 0)
            out->result = power_and_heat(gpu, out, &now);
    }
    return NVML_SUCCESS;
}
