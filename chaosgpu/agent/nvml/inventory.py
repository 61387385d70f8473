# SPDX-License-Identifier: Apache-2.0
"""Which GPUs, which driver, which library."""

from chaosgpu.agent import library
from chaosgpu.agent.nvml_calls import fail, gpu_named, identity, nvml, nvml_call
from chaosgpu.agent.values import JsonObject, JsonValue


@nvml_call
def find_gpu(name: str, allow_index: bool = False) -> JsonValue:
    """Name one GPU: {"uuid", "pci_bus_id", "index", "name"} of what a person called by UUID or PCI bus id."""
    try:
        return identity(gpu_named(name, allow_index))
    except nvml.NVMLError as error:
        fail(error.value, f"Reading the identity of GPU {name}")


@nvml_call
def library_in_use() -> JsonValue:
    """Return {"path", "sha256", "simulator"} of the NVML library that answers here."""
    found = library.loaded()
    nothing: JsonObject = {}
    return nothing if found is None else found.to_json()
