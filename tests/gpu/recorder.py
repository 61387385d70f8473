# SPDX-License-Identifier: Apache-2.0
"""Ask NVML everything that only reads about one GPU: `recorder.py UUID FILE` writes a line for each answer or code.

Before each call its name is written: a call that ends this process is known by that, and left out by the next start.
"""

import importlib
import inspect
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Without types: pynvml is ctypes all the way down.
nvml: Any = importlib.import_module("pynvml")

# Words that no getter's name holds; whatever has one of them is not called.
_NEVER = (
    "Set",
    "Reset",
    "Clear",
    "Remove",
    "Modify",
    "Create",
    "Destroy",
    "Free",
    "Register",
    "Freeze",
    "Power_v",
    "Vgpu",
)
_NOT_OURS = ("Attestation", "Certificate", "GpmSample", "GpuInstance", "ComputeInstance", "MigDeviceHandle", "Unit")
_MOST = 40  # entries of a list that are written down


def plain(value: Any, depth: int = 0) -> Any:
    """Turn an answer into JSON: structures by field, arrays up to a length."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth > 3:
        return repr(value)[:80]
    if hasattr(value, "_fields_"):
        return {name: plain(getattr(value, name), depth + 1) for name, *_ in value._fields_}
    if isinstance(value, dict):
        return {str(key): plain(one, depth + 1) for key, one in list(value.items())[:_MOST]}
    if hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        return [plain(value[index], depth + 1) for index in range(min(len(value), _MOST))]
    if hasattr(value, "__dict__"):
        return {name: plain(one, depth + 1) for name, one in vars(value).items()}
    return repr(value)[:80]


def _with_handle_alone(name: str) -> bool:
    if not name.startswith(("nvmlDeviceGet", "nvmlDeviceQuery")) or any(word in name for word in (*_NEVER, *_NOT_OURS)):
        return False
    parameters = list(inspect.signature(getattr(nvml, name)).parameters.values())
    needed = [one for one in parameters if one.default is inspect.Parameter.empty]
    return len(needed) == 1 and needed[0].name in ("handle", "device")


def _arguments() -> list[tuple[str, tuple[Any, ...]]]:
    """Return the questions that need more than the GPU, each with what it needs."""
    kinds = ("ClockInfo", "MaxClockInfo", "ApplicationsClock", "DefaultApplicationsClock")
    ecc = [(error, counter) for error in (0, 1) for counter in (0, 1)]
    return [
        *((kind, (clock,)) for kind in kinds for clock in range(4)),
        *((kind, (number,)) for kind in ("TemperatureThreshold", "ViolationStatus") for number in range(8)),
        ("Temperature", (0,)),
        ("MarginTemperature", ()),
        *(("TotalEccErrors", one) for one in ecc),
        *(("MemoryErrorCounter", (*one, place)) for one in ecc for place in (0, 1, 2, 3, 5, 7)),
        *((kind, (number,)) for kind in ("RetiredPages", "PcieThroughput", "APIRestriction") for number in (0, 1)),
        *(("InforomVersion", (item,)) for item in range(3)),
        *(("FanSpeed_v2", (fan,)) for fan in (0, 1)),
        *(("NvLinkState", (link,)) for link in range(18)),
        *(("NvLinkErrorCounter", (0, counter)) for counter in range(4)),
        ("ProcessUtilization", (0,)),
        ("EncoderCapacity", (0,)),
        ("GpuFabricInfoV", (nvml.c_nvmlGpuFabricInfo_v2_t(),)),
        ("MemoryInfo", (nvml.nvmlMemory_v2,)),
    ]


def calls(handle: Any) -> dict[str, Callable[[], Any]]:
    """Return every question by its name with its arguments."""
    found: dict[str, Callable[[], Any]] = {}

    def add(name: str, *arguments: Any) -> None:
        if hasattr(nvml, name):
            words = ", ".join(str(one) if isinstance(one, int) else type(one).__name__ for one in arguments)
            found[f"{name}({words})"] = lambda: _answer(name, handle, arguments)

    for name in sorted(dir(nvml)):
        if callable(getattr(nvml, name)) and _with_handle_alone(name):
            add(name)
    for name in ("DriverVersion", "NVMLVersion", "CudaDriverVersion_v2", "ConfComputeCapabilities", "NvlinkBwMode"):
        if hasattr(nvml, f"nvmlSystemGet{name}"):
            found[f"nvmlSystemGet{name}()"] = getattr(nvml, f"nvmlSystemGet{name}")
    for name, arguments in _arguments():
        add(f"nvmlDeviceGet{name}", *arguments)
    for clock in (_tried(lambda: nvml.nvmlDeviceGetSupportedMemoryClocks(handle)) or [])[:4]:
        add("nvmlDeviceGetSupportedGraphicsClocks", clock)
    for field in range(1, 290):
        found[f"field {field}"] = partial(_field, handle, field)
    return found


def _answer(name: str, handle: Any, arguments: tuple[Any, ...]) -> Any:
    """Call it; where it fills in a structure, which it wants by its address, that is the answer."""
    filled = [one for one in arguments if hasattr(one, "_fields_")]
    answer = getattr(nvml, name)(handle, *(nvml.byref(one) if one in filled else one for one in arguments))
    return filled[0] if filled else answer


def _tried(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _field(handle: Any, field: int) -> Any:
    value = nvml.nvmlDeviceGetFieldValues(handle, [field])[0]
    if value.nvmlReturn:
        raise nvml.NVMLError(value.nvmlReturn)
    member = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
    return getattr(value.value, member[value.valueType])


def main(uuid: str, path: Path) -> None:
    """Go through all that has not been asked yet."""
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    done = {json.loads(line)["call"] for line in before}
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    with path.open("a", encoding="utf-8") as file:
        for name, ask in calls(handle).items():
            if name in done:
                continue
            file.write(json.dumps({"call": name, "asking": True}) + "\n")
            file.flush()
            try:
                answer: dict[str, Any] = {"value": plain(ask())}
            except nvml.NVMLError as error:
                answer = {"code": int(error.value)}
            except Exception as error:  # noqa: BLE001 (pynvml's own mistakes are a line of the record, too)
                answer = {"raised": f"{type(error).__name__}: {error}"[:200]}
            file.write(json.dumps({"call": name, **answer}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
