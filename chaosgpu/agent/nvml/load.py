# SPDX-License-Identifier: Apache-2.0
"""Memory, utilisation, temperature, clocks, power and the processes behind them."""

from typing import Any, Dict, List, Tuple

from chaosgpu.agent.nvml.collect import Collected, either, field_value
from chaosgpu.agent.nvml_calls import find, nvml, nvml_call
from chaosgpu.agent.values import JsonObject, JsonValue

_MIB = 1 << 20
_FIELD_MEMORY_TEMPERATURE = 82


@nvml_call
def read_memory(uuid: str) -> JsonObject:
    """Return total, reserved, used and free MiB; `used` does not hold what the driver keeps for itself."""
    gpu = Collected(uuid)
    try:
        info = _memory(gpu.handle)
    except nvml.NVMLError as error:
        why = gpu.why(error, "the memory")
        gpu.unknown.update(dict.fromkeys(("total_mib", "used_mib", "free_mib", "reserved_mib", "used_percent"), why))
        return gpu.answer()
    for name in ("total", "used", "free"):
        gpu.values[f"{name}_mib"] = getattr(info, name) / _MIB
    if hasattr(info, "reserved"):
        gpu.values["reserved_mib"] = info.reserved / _MIB
    else:
        gpu.unknown["reserved_mib"] = "the installed driver is too old for it; it is inside used_mib"
    gpu.values["used_percent"] = 100.0 * info.used / info.total
    return gpu.answer()


def _memory(handle: Any) -> Any:
    return either(
        lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2),
        lambda: nvml.nvmlDeviceGetMemoryInfo(handle),
    )


@nvml_call
def used_mib(uuid: str) -> JsonValue:
    """Return the used MiB alone: the cheap call for a series."""
    return float(_memory(find(uuid)).used) / _MIB


@nvml_call
def read_utilization(uuid: str) -> JsonObject:
    """Return how many percent of the last sample period a kernel ran, and memory was read or written."""
    gpu = Collected(uuid)
    gpu.take("gpu_percent", lambda: int(nvml.nvmlDeviceGetUtilizationRates(gpu.handle).gpu))
    gpu.take("memory_percent", lambda: int(nvml.nvmlDeviceGetUtilizationRates(gpu.handle).memory))
    return gpu.answer()


_THRESHOLDS = {"shutdown": 0, "slowdown": 1, "memory_max": 2, "gpu_max": 3}


@nvml_call
def read_temperature(uuid: str) -> JsonObject:
    """Return the temperature, the device's own thresholds, and NVML's own margin to its throttle point."""
    gpu = Collected(uuid)
    gpu.take("celsius", lambda: int(nvml.nvmlDeviceGetTemperature(gpu.handle, nvml.NVML_TEMPERATURE_GPU)))
    gpu.take("memory_celsius", lambda: field_value(gpu.handle, _FIELD_MEMORY_TEMPERATURE))
    for name, kind in _THRESHOLDS.items():
        _take_threshold(gpu, f"{name}_celsius", kind)
    gpu.take("driver_margin_celsius", lambda: int(nvml.nvmlDeviceGetMarginTemperature(gpu.handle)))
    return gpu.answer()


def _take_threshold(gpu: Collected, name: str, kind: int) -> None:
    gpu.take(name, lambda: int(nvml.nvmlDeviceGetTemperatureThreshold(gpu.handle, kind)))


@nvml_call
def read_clocks(uuid: str) -> JsonObject:
    """Return SM and memory clocks, their maxima, the clock event reasons as bits, and the utilisation beside them."""
    gpu = Collected(uuid)
    for name, kind in (("sm", nvml.NVML_CLOCK_SM), ("memory", nvml.NVML_CLOCK_MEM)):
        _take_clock(gpu, name, kind)
    gpu.take("reason_bits", lambda: _reason_bits(gpu.handle))
    gpu.take("gpu_percent", lambda: int(nvml.nvmlDeviceGetUtilizationRates(gpu.handle).gpu))
    return gpu.answer()


def _take_clock(gpu: Collected, name: str, kind: int) -> None:
    gpu.take(f"{name}_mhz", lambda: int(nvml.nvmlDeviceGetClockInfo(gpu.handle, kind)))
    gpu.take(f"max_{name}_mhz", lambda: int(nvml.nvmlDeviceGetMaxClockInfo(gpu.handle, kind)))


def _reason_bits(handle: Any) -> int:
    return int(
        either(
            lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        )
    )


# Violation counters by policy (nvmlPerfPolicyType_t) and, where the driver has them, fields 269 to 271.
_POLICIES = {"power": 0, "thermal": 1, "board_limit": 3, "reliability": 5}
_THROTTLE_FIELDS = {"sw_thermal": 269, "hw_thermal": 270, "power_brake": 271}
_NS_IN_MS = 1e6


@nvml_call
def read_throttle(uuid: str) -> JsonObject:
    """Return for how many milliseconds each cause has held the clocks down, counted since the driver was loaded."""
    gpu = Collected(uuid)
    for name, policy in _POLICIES.items():
        _take_violation(gpu, name, policy)
    for name, field in _THROTTLE_FIELDS.items():
        _take_field_ms(gpu, name, field)
    return gpu.answer()


def _take_violation(gpu: Collected, name: str, policy: int) -> None:
    gpu.take(f"{name}_ms", lambda: nvml.nvmlDeviceGetViolationStatus(gpu.handle, policy).violationTime / _NS_IN_MS)


def _take_field_ms(gpu: Collected, name: str, field: int) -> None:
    gpu.take(f"{name}_ms", lambda: field_value(gpu.handle, field) / _NS_IN_MS)


@nvml_call
def read_power(uuid: str) -> JsonObject:
    """Return the draw, the limit in force, the one set, the default and the range, in watts."""
    gpu = Collected(uuid)
    for name, read in (
        ("watts", nvml.nvmlDeviceGetPowerUsage),
        ("limit_watts", nvml.nvmlDeviceGetPowerManagementLimit),
        ("default_limit_watts", nvml.nvmlDeviceGetPowerManagementDefaultLimit),
        ("enforced_limit_watts", nvml.nvmlDeviceGetEnforcedPowerLimit),
    ):
        _take_watts(gpu, name, read)
    constraints = nvml.nvmlDeviceGetPowerManagementLimitConstraints
    gpu.take("min_limit_watts", lambda: constraints(gpu.handle)[0] / 1000)
    gpu.take("max_limit_watts", lambda: constraints(gpu.handle)[1] / 1000)
    return gpu.answer()


def _take_watts(gpu: Collected, name: str, read: Any) -> None:
    gpu.take(name, lambda: read(gpu.handle) / 1000)


@nvml_call
def read_processes(uuid: str) -> JsonObject:
    """Return the processes that hold the GPU, as the driver sees them: {"pid", "used_mib", "name", "kinds"}."""
    gpu = Collected(uuid)
    found: Dict[int, Tuple[Any, List[str]]] = {}
    for kind, name in _KINDS.items():
        for process in _running(gpu, kind, name):
            found.setdefault(process.pid, (process, []))[1].append(kind)
    if "compute" not in gpu.unknown:
        gpu.values["processes"] = [_process(process, kinds) for process, kinds in found.values()]
    return gpu.answer()


# pynvml's functions without a version refuse to work on a driver that lacks the newest one.
_KINDS = {
    "compute": "nvmlDeviceGetComputeRunningProcesses",
    "graphics": "nvmlDeviceGetGraphicsRunningProcesses",
    "mps": "nvmlDeviceGetMPSComputeRunningProcesses",
}


def _running(gpu: Collected, kind: str, name: str) -> List[Any]:
    try:
        return list(
            either(lambda: getattr(nvml, f"{name}_v3")(gpu.handle), lambda: getattr(nvml, f"{name}_v2")(gpu.handle))
        )
    except nvml.NVMLError as error:
        gpu.unknown[kind] = gpu.why(error, f"{kind} processes")
        return []


def _process(process: Any, kinds: List[str]) -> JsonObject:
    used = process.usedGpuMemory
    name: JsonValue = None
    try:
        name = nvml.nvmlSystemGetProcessName(process.pid)
    except nvml.NVMLError:
        name = None  # the process has gone or is not ours to see; its pid still counts
    kind_names: List[JsonValue] = list(kinds)
    return {
        "pid": process.pid,
        "used_mib": None if used is None else used / _MIB,
        "name": name,
        "kinds": kind_names,
    }
