# SPDX-License-Identifier: Apache-2.0
"""The settings side of NVML: what faults read, change and put back; runs in the driver's child.

Errors of NVML pass through as they are: the child turns them into DriverFailed with NVML's code, and the fault says
what a code means for it.
"""

from typing import Any, Dict, List, Optional

from chaosgpu.agent.nvml_calls import FUNCTION_NOT_FOUND, NOT_SUPPORTED, find, nvml, nvml_call
from chaosgpu.agent.values import JsonObject, JsonValue

_UNKNOWN = (NOT_SUPPORTED, FUNCTION_NOT_FOUND)
_NOT_FOUND = 6
_ALL_PERCENT = 100
_RECOVERY_ACTION_FIELD = 230  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION


@nvml_call
def setting_power(uuid: str) -> JsonValue:
    """Return the power limit in force, the product's default and its bounds, in milliwatts."""
    gpu = find(uuid)
    low, high = nvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu)
    return {
        "limit_mw": nvml.nvmlDeviceGetPowerManagementLimit(gpu),
        "default_mw": nvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu),
        "min_mw": low,
        "max_mw": high,
    }


@nvml_call
def set_power_limit(uuid: str, limit_mw: int) -> JsonValue:
    """Set the power limit in milliwatts."""
    nvml.nvmlDeviceSetPowerManagementLimit(find(uuid), limit_mw)
    return None


@nvml_call
def setting_compute_mode(uuid: str) -> JsonValue:
    """Return the compute mode: 0 default, 2 prohibited, 3 exclusive process."""
    return int(nvml.nvmlDeviceGetComputeMode(find(uuid)))


@nvml_call
def set_compute_mode(uuid: str, mode: int) -> JsonValue:
    """Set the compute mode."""
    nvml.nvmlDeviceSetComputeMode(find(uuid), mode)
    return None


@nvml_call
def setting_persistence(uuid: str) -> JsonValue:
    """Return the persistence mode: 1 on, 0 off."""
    return int(nvml.nvmlDeviceGetPersistenceMode(find(uuid)))


@nvml_call
def set_persistence(uuid: str, mode: int) -> JsonValue:
    """Set the persistence mode."""
    nvml.nvmlDeviceSetPersistenceMode(find(uuid), mode)
    return None


@nvml_call
def setting_clocks(uuid: str) -> JsonValue:
    """Return the SM clock now and at most, in MHz, the event reasons as bits, and the utilisation where known."""
    gpu = find(uuid)
    return {
        "sm_mhz": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
        "max_sm_mhz": nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM),
        "architecture": _or_none(nvml.nvmlDeviceGetArchitecture, gpu),
        "reasons": _or_none(nvml.nvmlDeviceGetCurrentClocksEventReasons, gpu),
        "utilization_percent": _utilization(gpu),
    }


@nvml_call
def set_locked_clocks(uuid: str, min_mhz: int, max_mhz: int) -> JsonValue:
    """Lock the graphics clock to a range. No driver can be asked later what was set."""
    nvml.nvmlDeviceSetGpuLockedClocks(find(uuid), min_mhz, max_mhz)
    return None


@nvml_call
def reset_locked_clocks(uuid: str) -> JsonValue:
    """Take any lock of the graphics clock away."""
    nvml.nvmlDeviceResetGpuLockedClocks(find(uuid))
    return None


@nvml_call
def memory_held(uuid: str) -> JsonValue:
    """Return total, free and reserved bytes of the GPU, and each process's; null where the driver does not say."""
    gpu = find(uuid)
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(gpu, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError as error:
        if error.value not in (*_UNKNOWN, 25):
            raise
        memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
    return {
        "total_bytes": memory.total,
        "free_bytes": memory.free,
        "reserved_bytes": getattr(memory, "reserved", 0),  # an older driver counts it as used
        "processes": _processes(gpu),
    }


@nvml_call
def mig_is_on(uuid: str) -> JsonValue:
    """Tell whether the GPU is split by MIG; a product without MIG is not."""
    modes = _or_none(nvml.nvmlDeviceGetMigMode, find(uuid))
    return modes is not None and modes[0] == nvml.NVML_DEVICE_MIG_ENABLE


@nvml_call
def load_of(uuid: str, pid: int, since_us: int = 0) -> JsonValue:
    """Return in percent how busy the whole GPU is and how busy one process kept it since a time; null: not told.

    `process_seen_us` is the driver's time of the process's newest sample, to be given as the next `since_us`. Without
    it no percentage is told: a driver gives the mean of its whole buffer then, in which what others did before counts.
    """
    gpu = find(uuid)
    mine, seen_us, told = 0, since_us, True
    try:
        for sample in nvml.nvmlDeviceGetProcessUtilization(gpu, since_us):
            # A driver may list entries that it never wrote: their percentages are beyond all bounds.
            if sample.pid == pid and sample.timeStamp > seen_us and sample.smUtil <= _ALL_PERCENT:
                seen_us, mine = int(sample.timeStamp), int(sample.smUtil)
    except nvml.NVMLError as error:
        told = error.value == _NOT_FOUND  # nothing has run since
        if error.value not in (*_UNKNOWN, _NOT_FOUND):
            raise
    return {
        "total_percent": _utilization(gpu),
        "process_percent": mine if told and since_us else None,
        "process_seen_us": seen_us if told else None,
    }


@nvml_call
def what_ails(uuid: str) -> JsonValue:
    """Return sentences about what is already wrong with the GPU; empty if nothing is known to be."""
    gpu, found = find(uuid), []
    action = _field(gpu, _RECOVERY_ACTION_FIELD)
    if action:
        found.append(f"the driver asks for recovery action {action}")
    rows = _or_none(nvml.nvmlDeviceGetRemappedRows, gpu)
    if rows is not None and rows[2]:
        found.append("a row remap is pending: the GPU waits for a reset")
    if rows is not None and rows[3]:
        found.append("a row remap failed: the GPU's memory is worn out")
    if _or_none(nvml.nvmlDeviceGetRetiredPagesPendingStatus, gpu):
        found.append("a page retirement is pending: the GPU waits for a reboot")
    return [*found]


def _processes(gpu: Any) -> List[JsonValue]:
    held: Dict[int, Optional[int]] = {}
    for kind in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        for process in _or_none(kind, gpu) or ():
            held.setdefault(int(process.pid), process.usedGpuMemory)
    answer: List[JsonValue] = []
    for pid, used in sorted(held.items()):
        entry: JsonObject = {"pid": pid, "used_bytes": used}
        answer.append(entry)
    return answer


def _utilization(gpu: Any) -> Optional[int]:
    rates = _or_none(nvml.nvmlDeviceGetUtilizationRates, gpu)
    return None if rates is None else int(rates.gpu)


def _field(gpu: Any, number: int) -> Optional[int]:
    values = _or_none(nvml.nvmlDeviceGetFieldValues, gpu, [number])
    if values is None or values[0].nvmlReturn != 0:
        return None
    return int(values[0].value.uiVal)


def _or_none(call: Any, *arguments: Any) -> Any:
    """Call it; None where this product or driver cannot answer. Every other error is the caller's."""
    try:
        return call(*arguments)
    except nvml.NVMLError as error:
        if error.value in _UNKNOWN:
            return None
        raise
