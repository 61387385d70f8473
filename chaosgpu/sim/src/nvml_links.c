/* SPDX-License-Identifier: Apache-2.0 */
/* PCIe, NVLink and the fabric between GPUs. */
#define _GNU_SOURCE
#include <string.h>

#include "nvml.h"
#include "physics.h"

#define FABRIC_V2 0x02000024u
#define FABRIC_V3 0x03000028u
enum { REPLAY, RECOVERY, CRC_FLIT, CRC_DATA, ECC_DATA, LINK_ERRORS };

static int idle(struct gpu *gpu)
{
    return (physics_read(nvml_gpu_index(gpu)).event_reasons & REASON_IDLE) != 0;
}

static uint64_t least(uint64_t value, uint64_t cap)
{
    return cap != 0 && cap < value ? cap : value;
}

#define WORD(function, expression)                                                                               \
    EXPORT int function(nvmlDevice_t device, unsigned *value)                                                    \
    {                                                                                                            \
        ENTER(function);                                                                                         \
        NEED(value != NULL, NVML_INVALID_ARGUMENT);                                                              \
        *value = (unsigned)(expression);                                                                         \
        return NVML_SUCCESS;                                                                                     \
    }

WORD(nvmlDeviceGetMaxPcieLinkGeneration, gpu->pcie_gen_max)
WORD(nvmlDeviceGetMaxPcieLinkWidth, gpu->pcie_width_max)
WORD(nvmlDeviceGetCurrPcieLinkGeneration,
     least(idle(gpu) ? gpu->pcie_gen_idle : gpu->pcie_gen_max, LOAD(gpu->pcie_gen_cap)))
WORD(nvmlDeviceGetCurrPcieLinkWidth, least(gpu->pcie_width_max, LOAD(gpu->pcie_width_cap)))
WORD(nvmlDeviceGetPcieReplayCounter, LOAD(gpu->pcie_replays))

EXPORT int nvmlDeviceGetPcieThroughput(nvmlDevice_t device, int counter, unsigned *kib_s)
{
    ENTER(nvmlDeviceGetPcieThroughput);
    NEED(kib_s != NULL && (counter | 1) == 1, NVML_INVALID_ARGUMENT);
    *kib_s = idle(gpu) ? 0 : 512; /* launches and results only; copies are not timed */
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, unsigned *active)
{
    ENTER(nvmlDeviceGetNvLinkState);
    NEED(active != NULL && link < MAX_LINKS, NVML_INVALID_ARGUMENT);
    NEED(link < gpu->nvlink_links, NVML_NOT_SUPPORTED);
    *active = !(LOAD(gpu->nvlink_down_mask) >> link & 1) && session.state->nvlink_bw_mode != 1;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned link, int counter,
                                           unsigned long long *count)
{
    ENTER(nvmlDeviceGetNvLinkErrorCounter);
    NEED(count != NULL && link < MAX_LINKS && counter >= 0 && counter < LINK_ERRORS, NVML_INVALID_ARGUMENT);
    NEED(link < gpu->nvlink_links, NVML_NOT_SUPPORTED);
    uint64_t *counters[] = {[REPLAY] = gpu->nvlink_replay_errors,
                            [RECOVERY] = gpu->nvlink_recovery_errors,
                            [CRC_FLIT] = gpu->nvlink_crc_flit_errors,
                            [CRC_DATA] = gpu->nvlink_crc_data_errors};
    NEED(counter != ECC_DATA, NVML_NOT_SUPPORTED);
    *count = LOAD(counters[counter][link]);
    return NVML_SUCCESS;
}

struct fabric {
    unsigned version;
    unsigned char cluster[16];
    unsigned status, clique, state, health_mask;
    unsigned char summary; /* since version 3 */
};

EXPORT int nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, struct fabric *fabric)
{
    ENTER(nvmlDeviceGetGpuFabricInfoV);
    NEED(fabric != NULL, NVML_INVALID_ARGUMENT);
    NEED(fabric->version == FABRIC_V2 || fabric->version == FABRIC_V3, NVML_ARGUMENT_VERSION_MISMATCH);
    memset(fabric->cluster, 0, sizeof fabric->cluster);
    fabric->clique = 0;
    fabric->status = (unsigned)LOAD(gpu->fabric_status);
    fabric->state = gpu->fabric_supported ? (unsigned)LOAD(gpu->fabric_state) : 0;
    fabric->health_mask = gpu->fabric_supported ? (unsigned)LOAD(gpu->fabric_health_mask) : 0;
    if (fabric->version == FABRIC_V3)
        fabric->summary = !gpu->fabric_supported ? 0 : (fabric->health_mask & 0x3) == 1 ? 2 : 1;
    return NVML_SUCCESS;
}

/* The mode belongs to the machine; the first GPU says whether the product has it. */
static int product_lacks(enum function function)
{
    return session.state->gpus[0].not_supported[function] != 0;
}

EXPORT int nvmlSystemGetNvlinkBwMode(unsigned *mode)
{
    ENTER_SYSTEM(nvmlSystemGetNvlinkBwMode);
    NEED(mode != NULL, NVML_INVALID_ARGUMENT);
    NEED(!product_lacks(FN_nvmlSystemGetNvlinkBwMode), NVML_NOT_SUPPORTED);
    *mode = (unsigned)LOAD(session.state->nvlink_bw_mode);
    return NVML_SUCCESS;
}

EXPORT int nvmlSystemSetNvlinkBwMode(unsigned mode)
{
    ENTER_SYSTEM(nvmlSystemSetNvlinkBwMode);
    NEED(mode <= 4, NVML_INVALID_ARGUMENT);
    NEED(!product_lacks(FN_nvmlSystemSetNvlinkBwMode), NVML_NOT_SUPPORTED);
    NEED_ROOT();
    state_lock();
    int busy = 0;
    for (int i = 0; i < (int)session.state->gpu_count; i++)
        busy += gpu_contexts(i);
    if (!busy)
        STORE(session.state->nvlink_bw_mode, mode);
    state_changed();
    state_unlock();
    return busy ? NVML_IN_USE : NVML_SUCCESS;
}
