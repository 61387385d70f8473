# SPDX-License-Identifier: Apache-2.0
"""What a GPU is and how it is set: all that two GPUs of one rack should have in common, in one call."""

from typing import Any, Callable

from chaosgpu.agent.nvml.collect import Collected
from chaosgpu.agent.nvml_calls import bus_id, nvml, nvml_call
from chaosgpu.agent.values import JsonObject, JsonValue

_MIB = 1 << 20
_COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
# nvmlInforomObject_t in nvml.h
_INFOROM = {"oem": 0, "ecc": 1, "power": 2}


@nvml_call
def read_gpu_facts(uuid: str) -> JsonObject:
    """Return product, firmware, link, and every setting that a fleet keeps the same."""
    gpu = Collected(uuid)
    handle = gpu.handle
    gpu.take("product", lambda: str(nvml.nvmlDeviceGetName(handle)))
    gpu.take("serial", lambda: str(nvml.nvmlDeviceGetSerial(handle)))
    gpu.take("pci_bus_id", lambda: bus_id(handle))
    gpu.take("compute_capability", lambda: "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(handle)))
    gpu.take("memory_mib", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total // _MIB)
    gpu.take("vbios", lambda: str(nvml.nvmlDeviceGetVbiosVersion(handle)))
    gpu.take("inforom_image", lambda: str(nvml.nvmlDeviceGetInforomImageVersion(handle)))
    for name, number in _INFOROM.items():
        gpu.take(f"inforom_{name}", _inforom(handle, number))
    gpu.take("gsp_firmware", lambda: _gsp(handle))
    gpu.take("pcie_generation", lambda: int(nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)))
    gpu.take("pcie_width", lambda: int(nvml.nvmlDeviceGetMaxPcieLinkWidth(handle)))
    gpu.take("persistence", lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle)))
    gpu.take("compute_mode", lambda: _COMPUTE_MODES.get(nvml.nvmlDeviceGetComputeMode(handle), "unknown to us"))
    gpu.take("ecc", lambda: bool(nvml.nvmlDeviceGetEccMode(handle)[0]))
    gpu.take("ecc_pending", lambda: bool(nvml.nvmlDeviceGetEccMode(handle)[1]))
    gpu.take("mig", lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[0]))
    gpu.take("mig_pending", lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[1]))
    gpu.take("power_limit_watts", lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000)
    gpu.take("default_power_limit_watts", lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000)
    for name, kind in (("sm", nvml.NVML_CLOCK_SM), ("memory", nvml.NVML_CLOCK_MEM)):
        gpu.take(f"application_{name}_mhz", _clock(nvml.nvmlDeviceGetApplicationsClock, handle, kind))
        gpu.take(f"max_{name}_mhz", _clock(nvml.nvmlDeviceGetMaxClockInfo, handle, kind))
    return gpu.answer()


def _inforom(handle: Any, number: int) -> Callable[[], JsonValue]:
    return lambda: str(nvml.nvmlDeviceGetInforomVersion(handle, number))


def _clock(read: Any, handle: Any, kind: int) -> Callable[[], JsonValue]:
    return lambda: int(read(handle, kind))


def _gsp(handle: Any) -> str:
    said = nvml.nvmlDeviceGetGspFirmwareVersion(handle)
    return said.decode() if isinstance(said, bytes) else str(said)
