/* SPDX-License-Identifier: Apache-2.0 */
/* Temperatures, their thresholds, and fans. */
#define _GNU_SOURCE
#include "nvml.h"
#include "physics.h"

#define MARGIN_V1 0x1000008u
enum { SHUTDOWN, SLOWDOWN, MEM_MAX, GPU_MAX, ACOUSTIC_MIN, ACOUSTIC_CURR, ACOUSTIC_MAX };

EXPORT int nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *celsius)
{
    ENTER(nvmlDeviceGetTemperature);
    NEED(sensor == 0 && celsius != NULL, NVML_INVALID_ARGUMENT);
    *celsius = (unsigned)(physics_read(nvml_gpu_index(gpu)).celsius + 0.5);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, int threshold, unsigned *celsius)
{
    ENTER(nvmlDeviceGetTemperatureThreshold);
    NEED(celsius != NULL, NVML_INVALID_ARGUMENT);
    uint64_t value = 0;
    switch (threshold) {
    case SHUTDOWN:
        value = gpu->shutdown_celsius;
        break;
    case SLOWDOWN:
        value = gpu->slowdown_celsius;
        break;
    case MEM_MAX:
        value = gpu->memory_max_celsius;
        break;
    case GPU_MAX:
        value = gpu->gpu_max_celsius;
        break;
    case ACOUSTIC_MIN:
        value = gpu->acoustic_min_celsius;
        break;
    case ACOUSTIC_CURR:
        value = LOAD(gpu->acoustic_celsius);
        break;
    case ACOUSTIC_MAX:
        value = gpu->acoustic_max_celsius;
        break;
    default:
        return threshold == 7 ? NVML_NOT_SUPPORTED : NVML_INVALID_ARGUMENT;
    }
    NEED(value != 0, NVML_NOT_SUPPORTED);
    *celsius = (unsigned)value;
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetTemperatureThreshold(nvmlDevice_t device, int threshold, int *celsius)
{
    ENTER(nvmlDeviceSetTemperatureThreshold);
    NEED(celsius != NULL, NVML_INVALID_ARGUMENT);
    NEED(threshold == ACOUSTIC_CURR, NVML_NOT_SUPPORTED);
    NEED_ROOT();
    NEED(*celsius >= (int)gpu->acoustic_min_celsius && *celsius <= (int)gpu->acoustic_max_celsius,
         NVML_INVALID_ARGUMENT);
    state_lock();
    physics_now(nvml_gpu_index(gpu));
    STORE(gpu->acoustic_celsius, (uint64_t)*celsius);
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

struct margin {
    unsigned version;
    int celsius;
};

EXPORT int nvmlDeviceGetMarginTemperature(nvmlDevice_t device, struct margin *margin)
{
    ENTER(nvmlDeviceGetMarginTemperature);
    NEED(margin != NULL, NVML_INVALID_ARGUMENT);
    NEED(margin->version == MARGIN_V1, NVML_ARGUMENT_VERSION_MISMATCH);
    double celsius = physics_read(nvml_gpu_index(gpu)).celsius;
    margin->celsius = (int)gpu->gpu_max_celsius - (int)(celsius + 0.5);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetNumFans(nvmlDevice_t device, unsigned *fans)
{
    ENTER(nvmlDeviceGetNumFans);
    NEED(fans != NULL, NVML_INVALID_ARGUMENT);
    *fans = (unsigned)gpu->fans;
    return NVML_SUCCESS;
}

static unsigned fan_percent(struct gpu *gpu)
{
    uint64_t manual = LOAD(gpu->fan_manual_percent);
    if (manual)
        return (unsigned)manual;
    double celsius = physics_read(nvml_gpu_index(gpu)).celsius;
    double percent = 30 + (celsius - 40) * 1.6;
    return (unsigned)(percent < 30 ? 30 : percent > 100 ? 100 : percent);
}

EXPORT int nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned fan, unsigned *percent)
{
    ENTER(nvmlDeviceGetFanSpeed_v2);
    NEED(percent != NULL && fan < gpu->fans, NVML_INVALID_ARGUMENT);
    *percent = fan_percent(gpu);
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned *percent)
{
    ENTER(nvmlDeviceGetFanSpeed);
    NEED(percent != NULL, NVML_INVALID_ARGUMENT);
    NEED(gpu->fans > 0, NVML_NOT_SUPPORTED);
    *percent = fan_percent(gpu);
    return NVML_SUCCESS;
}

static int set_fan(struct gpu *gpu, unsigned fan, unsigned percent)
{
    NEED_ROOT();
    NEED(fan < gpu->fans && percent <= 100, NVML_INVALID_ARGUMENT);
    state_lock();
    STORE(gpu->fan_manual_percent, percent);
    state_changed();
    state_unlock();
    return NVML_SUCCESS;
}

EXPORT int nvmlDeviceSetFanSpeed_v2(nvmlDevice_t device, unsigned fan, unsigned percent)
{
    ENTER(nvmlDeviceSetFanSpeed_v2);
    NEED(percent >= 30, NVML_INVALID_ARGUMENT); /* the board's own floor */
    return set_fan(gpu, fan, percent);
}

EXPORT int nvmlDeviceSetDefaultFanSpeed_v2(nvmlDevice_t device, unsigned fan)
{
    ENTER(nvmlDeviceSetDefaultFanSpeed_v2);
    return set_fan(gpu, fan, 0);
}
