# SPDX-License-Identifier: Apache-2.0
"""All of one GPU that a fault may leave changed, in one call."""

from typing import Any

from chaosgpu.agent.nvml.collect import Collected, field_value
from chaosgpu.agent.nvml.load import read_processes
from chaosgpu.agent.nvml_calls import nvml, nvml_call
from chaosgpu.agent.values import JsonObject, mapping

_FIELD_RECOVERY_ACTION = 230
_ROW_PENDING, _ROW_FAILED = 2, 3


@nvml_call
def read_residue(uuid: str) -> JsonObject:
    """Return settings beside their defaults, what waits for a reset, and who holds the GPU."""
    gpu = Collected(uuid)
    handle: Any = gpu.handle
    gpu.take("power_limit_mw", lambda: int(nvml.nvmlDeviceGetPowerManagementLimit(handle)))
    gpu.take("power_default_mw", lambda: int(nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)))
    gpu.take("compute_mode", lambda: int(nvml.nvmlDeviceGetComputeMode(handle)))
    gpu.take("persistence", lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle)))
    gpu.take("reasons", lambda: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)))
    gpu.take("sm_mhz", lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)))
    for name, read in (("ecc", nvml.nvmlDeviceGetEccMode), ("mig", nvml.nvmlDeviceGetMigMode)):
        _take_pair(gpu, name, read)
    gpu.take("remap_pending", lambda: bool(nvml.nvmlDeviceGetRemappedRows(handle)[_ROW_PENDING]))
    gpu.take("remap_failure", lambda: bool(nvml.nvmlDeviceGetRemappedRows(handle)[_ROW_FAILED]))
    gpu.take("retired_pending", lambda: bool(nvml.nvmlDeviceGetRetiredPagesPendingStatus(handle)))
    gpu.take("recovery_action", lambda: field_value(handle, _FIELD_RECOVERY_ACTION))
    processes = read_processes(uuid)
    gpu.values.update(mapping(processes, "values"))
    gpu.unknown.update(mapping(processes, "unknown"))
    return gpu.answer()


def _take_pair(gpu: Collected, name: str, read: Any) -> None:
    gpu.take(name, lambda: bool(read(gpu.handle)[0]))
    gpu.take(f"{name}_pending", lambda: bool(read(gpu.handle)[1]))
