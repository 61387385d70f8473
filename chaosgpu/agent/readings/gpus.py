# SPDX-License-Identifier: Apache-2.0
"""How many GPUs, which versions, whether one answers, and its modes."""

import os
import re
from typing import List, Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.readings.catalogue import Answer, Tools, ask, ask_object, gpu_uuid, reading
from chaosgpu.agent.values import JsonMapping, JsonValue

_MISMATCH, _LOST, _RESET_REQUIRED = 18, 15, 16
_NVIDIA = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302")  # VGA controller and 3D controller
_MODULE_VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")
_MOST_GPUS = 1024


@reading("gpu.count", frozenset({"expected"}))
def count(params: JsonMapping, tools: Tools) -> Answer:
    """Return how many GPUs NVML shows, how many of them answer, how many the PCI bus has, and what was expected."""
    found = tools.driver.call("list_gpus")
    gpus = found if isinstance(found, list) else []
    answering = [gpu for gpu in gpus if isinstance(gpu, dict) and "uuid" in gpu]
    answer = Answer({"count": len(gpus), "answering": len(answering)})
    answer.note("on_pci_bus", _on_pci_bus(tools.pci_devices), f"{tools.pci_devices} cannot be read")
    if params.get("expected") is not None:
        expected = values.whole(params, "expected", 0, _MOST_GPUS)
        answer.values.update({"expected": expected, "as_expected": len(answering) == expected})
    return answer


def _on_pci_bus(folder: str) -> Optional[int]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 (pathlib costs 9 ms at start)
    except OSError:
        return None
    return len([name for name in names if _is_gpu(f"{folder}/{name}")])


def _is_gpu(device: str) -> bool:
    return _text(f"{device}/vendor") == _NVIDIA and (_text(f"{device}/class") or "").startswith(_DISPLAY_CLASSES)


def _text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            return file.read().strip()
    except OSError:
        return None


@reading("gpu.versions", frozenset())
def versions(params: JsonMapping, tools: Tools) -> Answer:  # noqa: ARG001 (it has no parameters)
    """Return the versions of driver, NVML and CUDA, of the loaded kernel module, and whether they go together.

    The driver itself compares its library with the kernel module when NVML is started: that is `match`.
    """
    answer = Answer()
    try:
        answer.values.update(ask_object(tools, "driver_versions"))
        answer.values["match"] = True
    except DriverFailed as error:
        if error.code != _MISMATCH:
            raise
        answer.values.update({"match": False, "why": str(error)})
        for name in ("driver", "nvml", "cuda"):
            answer.unknown[name] = "NVML does not start while library and kernel module differ"
    version_file = f"{tools.proc}/driver/nvidia/version"
    module = _MODULE_VERSION.search(_text(version_file) or "")
    answer.note("kernel_module", module.group(1) if module else None, f"{version_file} does not tell it")
    return answer


@reading("gpu.reachable")
def reachable(params: JsonMapping, tools: Tools) -> Answer:
    """Return whether the GPU answers; lost (15) and waiting for a reset (16) are no."""
    try:
        tools.driver.call("touch_gpu", gpu_uuid(params, tools))
    except DriverFailed as error:
        if error.code not in (_LOST, _RESET_REQUIRED):
            raise
        return Answer({"reachable": False, "code": error.code, "why": str(error)})
    return Answer({"reachable": True})


@reading("gpu.modes")
def modes(params: JsonMapping, tools: Tools) -> Answer:
    """Return persistence, compute mode, MIG and ECC."""
    return ask(tools, "read_modes", gpu_uuid(params, tools))


def list_gpus(tools: Tools) -> List[JsonValue]:
    """Return every GPU with its identity, for `facts` and `doctor`."""
    found = tools.driver.call("list_gpus")
    return list(found) if isinstance(found, list) else []
