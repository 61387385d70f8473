# SPDX-License-Identifier: Apache-2.0
"""Which GPUs, which driver, which library."""

from typing import Any, List

from chaosgpu.agent import library
from chaosgpu.agent.nvml.collect import Collected, either
from chaosgpu.agent.nvml_calls import count, fail, find, gpu_named, identity, nvml, nvml_call
from chaosgpu.agent.values import JsonObject, JsonValue

_MIB = 1 << 20


@nvml_call
def find_gpu(name: str, allow_index: bool = False) -> JsonValue:
    """Name one GPU: {"uuid", "pci_bus_id", "index", "name"} of what a person called by UUID or PCI bus id."""
    try:
        return identity(gpu_named(name, allow_index))
    except nvml.NVMLError as error:
        fail(error.value, f"Reading the identity of GPU {name}")


@nvml_call
def device_node(uuid: str) -> JsonValue:
    """Return the path of the GPU's own node, such as /dev/nvidia0: by its minor number, which no index tells."""
    try:
        return f"/dev/nvidia{nvml.nvmlDeviceGetMinorNumber(find(uuid))}"
    except nvml.NVMLError as error:
        fail(error.value, f"Reading the minor number of GPU {uuid}")


@nvml_call
def list_gpus() -> JsonValue:
    """Return every GPU with its identity and memory; one that does not answer has only its index and NVML's code."""
    found: List[JsonValue] = [_entry(index) for index in range(count())]
    return found


@nvml_call
def library_in_use() -> JsonValue:
    """Return {"path", "sha256", "simulator"} of the NVML library that answers here."""
    found = library.loaded()
    nothing: JsonObject = {}
    return nothing if found is None else found.to_json()


@nvml_call
def driver_versions() -> JsonValue:
    """Return {"driver", "nvml", "cuda"} as the library says them."""
    cuda = nvml.nvmlSystemGetCudaDriverVersion_v2()
    return {
        "driver": nvml.nvmlSystemGetDriverVersion(),
        "nvml": nvml.nvmlSystemGetNVMLVersion(),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
    }


@nvml_call
def touch_gpu(uuid: str) -> JsonValue:
    """Ask the GPU itself something: raises NVML's 15 if it is lost, 16 if it needs a reset."""
    handle = Collected(uuid).handle
    return either(
        lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
    )


@nvml_call
def read_modes(uuid: str) -> JsonObject:
    """Return persistence, compute mode, MIG and ECC as they are and as they will be after a reset."""
    gpu = Collected(uuid)
    gpu.take("persistence", lambda: bool(nvml.nvmlDeviceGetPersistenceMode(gpu.handle)))
    gpu.take("compute_mode", lambda: _COMPUTE_MODES.get(nvml.nvmlDeviceGetComputeMode(gpu.handle), "unknown to us"))
    for name, read in (("mig", nvml.nvmlDeviceGetMigMode), ("ecc", nvml.nvmlDeviceGetEccMode)):
        _take_pair(gpu, name, read)
    return gpu.answer()


_COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}


def _take_pair(gpu: Collected, name: str, read: Any) -> None:
    gpu.take(f"{name}_enabled", lambda: bool(read(gpu.handle)[0]))
    gpu.take(f"{name}_pending", lambda: bool(read(gpu.handle)[1]))


def _entry(index: int) -> JsonObject:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        found = identity(handle)
    except nvml.NVMLError as error:
        return {"index": index, "code": int(error.value), "why": str(error)}
    try:
        found["memory_total_mib"] = nvml.nvmlDeviceGetMemoryInfo(handle).total // _MIB
    except nvml.NVMLError:
        return found  # a GPU that shares the host's memory has none of its own to tell
    return found
