# SPDX-License-Identifier: Apache-2.0
"""PCIe, NVLink and the NVSwitch fabric."""

from typing import Any, Callable, List, Optional

from chaosgpu.agent.nvml.collect import Collected, either, field_value
from chaosgpu.agent.nvml_calls import NOT_SUPPORTED, nvml, nvml_call
from chaosgpu.agent.values import JsonObject, JsonValue

_INVALID_ARGUMENT = 2
_FIELD_LINK_COUNT = 91


@nvml_call
def read_pcie(uuid: str) -> JsonObject:
    """Return the PCIe link's generation and width, now and at most, its replays, and the utilisation beside them."""
    gpu = Collected(uuid)
    for name, read in (
        ("generation", nvml.nvmlDeviceGetCurrPcieLinkGeneration),
        ("max_generation", nvml.nvmlDeviceGetMaxPcieLinkGeneration),
        ("width", nvml.nvmlDeviceGetCurrPcieLinkWidth),
        ("max_width", nvml.nvmlDeviceGetMaxPcieLinkWidth),
        ("replays", nvml.nvmlDeviceGetPcieReplayCounter),
    ):
        gpu.take(name, _number(read, gpu.handle))
    gpu.take("gpu_percent", lambda: int(nvml.nvmlDeviceGetUtilizationRates(gpu.handle).gpu))
    return gpu.answer()


def _number(read: Any, handle: Any) -> Callable[[], JsonValue]:
    return lambda: int(read(handle))


# The error counters of one link: NVML's own numbers and, where a newer driver has dropped them, the field.
_LINK_ERRORS = {"replay": (0, 161), "recovery": (1, 162), "crc_flit": (2, 163), "crc_data": (3, None)}


@nvml_call
def read_nvlink(uuid: str) -> JsonObject:
    """Return each NVLink with its state and error counters."""
    gpu = Collected(uuid)
    links: List[JsonValue] = []
    for link in range(_link_count(gpu.handle)):
        try:
            active = bool(nvml.nvmlDeviceGetNvLinkState(gpu.handle, link))
        except nvml.NVMLError as error:
            if error.value == _INVALID_ARGUMENT or (error.value == NOT_SUPPORTED and links):
                break  # there are no more links
            gpu.unknown["links"] = gpu.why(error, f"NVLink {link}")
            return gpu.answer()
        links.append({"link": link, "active": active, **_link_errors(gpu, link)})
    if links:
        gpu.values["links"] = links
    else:
        gpu.unknown["links"] = "this GPU has no NVLink"
    return gpu.answer()


def _link_count(handle: Any) -> int:
    try:
        return field_value(handle, _FIELD_LINK_COUNT)
    except nvml.NVMLError:
        return int(nvml.NVML_NVLINK_MAX_LINKS)  # then the links themselves say where they end


def _link_errors(gpu: Collected, link: int) -> JsonObject:
    found: JsonObject = {}
    for name in _LINK_ERRORS:
        _take_link_error(gpu, link, name, found)
    return {"errors": found}


def _take_link_error(gpu: Collected, link: int, name: str, found: JsonObject) -> None:
    counter, field = _LINK_ERRORS[name]
    try:
        found[name] = _link_error(gpu.handle, link, counter, field)
    except nvml.NVMLError as error:
        gpu.unknown[f"{name}_errors"] = gpu.why(error, f"NVLink {link} {name} errors")


def _link_error(handle: Any, link: int, counter: int, field: Optional[int]) -> int:
    def by_counter() -> int:
        return int(nvml.nvmlDeviceGetNvLinkErrorCounter(handle, link, counter))

    return by_counter() if field is None else either(by_counter, lambda: field_value(handle, field, link))


_NO_FABRIC = "the driver tells of no NVSwitch fabric for this GPU here; in a virtual machine it may be hidden"
_FABRIC_STATES = {1: "not_started", 2: "in_progress", 3: "completed"}
# nvmlGpuFabricInfo healthMask: two bits a fact, 1 is true, 2 is false, 0 is "not supported".
_FABRIC_FACTS = {"degraded_bandwidth": 0, "route_recovery": 2, "route_unhealthy": 4, "access_timeout_recovery": 6}


@nvml_call
def read_fabric(uuid: str) -> JsonObject:
    """Return how far the GPU has joined its NVSwitch fabric, and what the fabric says of its health."""
    gpu = Collected(uuid)
    info = nvml.c_nvmlGpuFabricInfoV_t()
    try:
        nvml.nvmlDeviceGetGpuFabricInfoV(gpu.handle, nvml.byref(info))
    except nvml.NVMLError as error:
        gpu.unknown["state"] = gpu.why(error, "the fabric's state")
        return gpu.answer()
    if info.state not in _FABRIC_STATES:
        gpu.unknown["state"] = _NO_FABRIC
        return gpu.answer()
    gpu.values.update(
        {"state": _FABRIC_STATES[info.state], "status": int(info.status), "clique_id": int(info.cliqueId)}
    )
    for name, shift in _FABRIC_FACTS.items():
        fact = info.healthMask >> shift & 0b11
        if fact in (1, 2):
            gpu.values[name] = fact == 1
        else:
            gpu.unknown[name] = "this fabric does not tell it"
    return gpu.answer()
