/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of the return codes, as the library gives them. */
#define _GNU_SOURCE
#include "nvml.h"

static const char *const texts[] = {
    [0] = "Success",
    [1] = "Uninitialized",
    [2] = "Invalid Argument",
    [3] = "Not Supported",
    [4] = "Insufficient Permissions",
    [5] = "Already Initialized",
    [6] = "Not Found",
    [7] = "Insufficient Size",
    [8] = "Insufficient External Power",
    [9] = "Driver Not Loaded",
    [10] = "Timeout",
    [11] = "Interrupt Request Issue",
    [12] = "NVML Shared Library Not Found",
    [13] = "Function Not Found",
    [14] = "Corrupted infoROM",
    [15] = "GPU is lost",
    [16] = "GPU requires reset",
    [17] = "The operating system has blocked the request.",
    [18] = "RM has detected an NVML/RM version mismatch.",
    [19] = "In use by another client",
    [20] = "Insufficient Memory",
    [21] = "No data",
    [22] = "The requested vgpu operation is not available on target device",
    [23] = "Insufficient Resources",
    [24] = "Frequency not supported",
    [25] = "Argument version mismatch",
    [26] = "Deprecated",
    [27] = "Not Ready",
    [28] = "GPU not found",
    [29] = "Invalid State",
};

EXPORT const char *nvmlErrorString(int result)
{
    if (result >= 0 && (size_t)result < sizeof texts / sizeof texts[0] && texts[result] != NULL)
        return texts[result];
    return "Unknown Error";
}
