# SPDX-License-Identifier: Apache-2.0
"""What the driver's child can be asked by name, and what all such functions share: finding the GPU, naming errors.

A function becomes callable with `@nvml_call`; the parent calls it as `driver.call("its_name", ...)`. Arguments and
answers are JSON. This module and those it loads are imported in the child only.
"""

import importlib
import re
from typing import Any, Callable, Dict, NoReturn, TypeVar, cast

from chaosgpu.agent.errors import BadRequest, DriverFailed
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["fail", "find", "gpu_named", "nvml", "nvml_call", "resolve"]

# Without types: pynvml is ctypes all the way down; what leaves this module is JSON.
nvml: Any = importlib.import_module("pynvml")

CALL_MODULES = (
    "chaosgpu.agent.nvml.inventory",
    "chaosgpu.agent.nvml.load",
    "chaosgpu.agent.nvml.health",
    "chaosgpu.agent.nvml.links",
    "chaosgpu.agent.nvml.events",
    "chaosgpu.agent.nvml.residue",
    "chaosgpu.agent.nvml.facts",
    "chaosgpu.agent.nvml_settings",
)

NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
ARGUMENT_VERSION_MISMATCH = 25

_ADVICE: Dict[int, str] = {
    NOT_SUPPORTED: "This product or driver cannot do it.",
    NO_PERMISSION: "Run the agent as root.",
    9: "The NVIDIA kernel module is not loaded: load it (modprobe nvidia) and look at dmesg if that fails.",
    10: "The driver gave up waiting: look at the kernel log for an Xid.",
    12: "There is no libnvidia-ml.so.1 here: install the NVIDIA driver, or run on simulated GPUs (chaosgpu sim run).",
    FUNCTION_NOT_FOUND: "The installed driver is too old for it.",
    GPU_IS_LOST: "The GPU has fallen off the bus: look for Xid 79 in the kernel log, then power-cycle the host.",
    16: "The GPU needs a reset before it can be used: drain it, then nvidia-smi --gpu-reset, or reboot.",
    17: "The operating system or a container's device rules blocked it: check the permissions of /dev/nvidia*.",
    18: "The driver library and the kernel module have different versions: reboot, or reload the kernel module.",
    19: "The GPU is in use: end the processes that hold it.",
    NOT_FOUND: "There is no such thing on this host.",
    28: "There is no such GPU on this host.",
    ARGUMENT_VERSION_MISMATCH: "The installed driver is too old for it.",
    999: "The driver does not say why: look at the kernel log for an Xid.",
}

Call = Callable[..., JsonValue]
Function = TypeVar("Function", bound=Call)

_CALLS: Dict[str, Call] = {}
_BUS_ID = re.compile(r"(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?", re.IGNORECASE)


def nvml_call(function: Function) -> Function:
    """Make a function callable by its own name from the parent process."""
    if function.__name__ in _CALLS and _CALLS[function.__name__].__module__ != function.__module__:
        raise RuntimeError(f"Two driver calls are named {function.__name__}; give one of them another name.")
    _CALLS[function.__name__] = function
    return function


def resolve(name: str) -> Call:
    """Return the function of that name; an unknown name is the caller's mistake."""
    for module in CALL_MODULES:
        importlib.import_module(module)
    if name not in _CALLS:
        raise BadRequest(f"There is no driver call named {name}; there are: {', '.join(sorted(_CALLS))}.")
    return _CALLS[name]


def fail(code: int, what: str) -> NoReturn:
    """Raise the error for one NVML code, with what to do about it."""
    said = nvml.NVMLError(code)
    advice = _ADVICE.get(code, "See NVIDIA's documentation of NVML for this code.")
    raise DriverFailed(f"{what}: NVML answered {code} ({said}). {advice}", code=code)


def find(uuid: str) -> Any:
    """Return NVML's handle of the GPU with that UUID."""
    try:
        return nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError as error:
        if error.value in (2, NOT_FOUND, 28):
            raise BadRequest(f"There is no GPU {uuid} on this host; {gpus_here()}.") from error
        fail(error.value, f"Opening GPU {uuid}")


def gpu_named(name: str, allow_index: bool = False) -> Any:
    """Return the handle of the GPU that a person named by UUID or PCI bus id; by index only where that is allowed."""
    if name.isdecimal():
        return _by_index(name, allow_index)
    if name.startswith("GPU-"):
        return find(name)
    if name.startswith("MIG-"):
        raise BadRequest(f"{name} is a MIG instance; name the whole GPU by UUID or PCI bus id. {gpus_here()}.")
    if _BUS_ID.fullmatch(name):
        try:
            return nvml.nvmlDeviceGetHandleByPciBusId(name if name.count(":") > 1 else f"0000:{name}")
        except nvml.NVMLError as error:
            if error.value in (2, NOT_FOUND, 28):
                raise BadRequest(f"There is no GPU at PCI bus id {name} on this host; {gpus_here()}.") from error
            fail(error.value, f"Opening the GPU at PCI bus id {name}")
    raise BadRequest(f"{name!r} is neither a GPU's UUID (GPU-…) nor a PCI bus id (0000:3b:00.0); {gpus_here()}.")


def gpus_here() -> str:
    """Say which GPUs there are, for error sentences."""
    found = [_gpu_at(index) for index in range(count())]
    return f"here they are: {', '.join(found)}" if found else "NVML shows no GPU at all"


def _gpu_at(index: int) -> str:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return f"{nvml.nvmlDeviceGetUUID(handle)} at {bus_id(handle)}"
    except nvml.NVMLError as error:
        return f"one that does not answer (NVML {error.value})"


def count() -> int:
    """Return how many GPUs NVML shows."""
    try:
        return int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        fail(error.value, "Counting the GPUs")


def bus_id(handle: Any) -> str:
    """Return the PCI bus id as NVML writes it, such as 00000000:3B:00.0."""
    return cast("str", nvml.nvmlDeviceGetPciInfo(handle).busId)


def identity(handle: Any) -> JsonObject:
    """Return what names one GPU: UUID, PCI bus id, index, product."""
    return {
        "uuid": nvml.nvmlDeviceGetUUID(handle),
        "pci_bus_id": bus_id(handle),
        "index": nvml.nvmlDeviceGetIndex(handle),
        "name": nvml.nvmlDeviceGetName(handle),
    }


def _by_index(name: str, allow_index: bool) -> Any:
    if not allow_index:
        raise BadRequest(
            f"Name the GPU by UUID or PCI bus id, not by index {name}: indices change; {gpus_here()}. "
            "To use the index all the same, set allow_index."
        )
    if int(name) >= count():
        raise BadRequest(f"There is no GPU with index {name} on this host; {gpus_here()}.")
    try:
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    except nvml.NVMLError as error:
        fail(error.value, f"Opening the GPU with index {name}")
