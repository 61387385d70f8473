# SPDX-License-Identifier: Apache-2.0
"""What cannot be known is unknown with a reason; never 0, false or an error that hides the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import BadRequest, DriverFailed
from chaosgpu.agent.readings.catalogue import Tools, readings, take
from chaosgpu.sim.instance import Instance, create
from unit.readings.conftest import MakeDriver, MakeGpus, uuid_of

# For each reading: what the driver is made unable to do, and what is unknown then.
CASES = [
    ("gpu.utilization", ["nvmlDeviceGetUtilizationRates"], {"gpu_percent", "memory_percent"}),
    ("gpu.temperature", ["nvmlDeviceGetTemperature"], {"celsius"}),
    (
        "gpu.temperature",
        ["nvmlDeviceGetTemperatureThreshold", "nvmlDeviceGetMarginTemperature"],
        {"slowdown_celsius", "gpu_max_celsius", "driver_margin_celsius", "margin_celsius"},
    ),
    (
        "gpu.clocks",
        ["nvmlDeviceGetClockInfo", "nvmlDeviceGetCurrentClocksEventReasons"],
        {"sm_mhz", "memory_mhz", "reason_bits", "bad_reasons", "benign_reasons", "sm_percent_of_max"},
    ),
    ("gpu.throttle", ["nvmlDeviceGetViolationStatus"], {"thermal_ms", "power_ms"}),
    ("gpu.power", ["nvmlDeviceGetPowerUsage"], {"watts"}),
    ("gpu.power", ["nvmlDeviceGetPowerManagementDefaultLimit"], {"default_limit_watts", "capped"}),
    ("gpu.ecc", ["nvmlDeviceGetTotalEccErrors"], {"uncorrected_volatile", "corrected_aggregate"}),
    ("gpu.remapped_rows", ["nvmlDeviceGetRemappedRows"], {"pending", "failure"}),
    ("gpu.recovery_action", ["nvmlDeviceGetFieldValues"], {"action", "code"}),
    ("gpu.pcie", ["nvmlDeviceGetCurrPcieLinkWidth"], {"width", "degraded"}),
    ("gpu.pcie", ["nvmlDeviceGetUtilizationRates"], {"gpu_percent", "under_load"}),
    ("gpu.nvlink", ["nvmlDeviceGetNvLinkState"], {"links", "active", "inactive", "errors"}),
    ("gpu.fabric", ["nvmlDeviceGetGpuFabricInfoV"], {"state"}),
    ("gpu.modes", ["nvmlDeviceGetEccMode"], {"ecc_enabled", "ecc_pending"}),
    (
        "gpu.processes",
        ["nvmlDeviceGetComputeRunningProcesses_v3"],
        {"processes", "orphans"},
    ),
    (
        "gpu.memory",
        ["nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"],
        {"total_mib", "used_mib", "used_percent"},
    ),
    ("gpu.xid", ["nvmlDeviceRegisterEvents"], {"heard"}),
]


@dataclass(frozen=True)
class Case:
    """A reading, what the driver cannot do, and what is unknown then."""

    name: str
    functions: list[str]
    fields: set[str]


@pytest.mark.parametrize(
    ("code", "why"),
    [(3, "virtual machine that it is passed through to does not offer it (NVML 3"), (4, "root only"), (13, "too old")],
)
@pytest.mark.parametrize("case", [Case(*case) for case in CASES], ids=lambda case: f"{case.name}-{case.functions[0]}")
def test_what_the_driver_cannot_tell_is_unknown(
    case: Case, code: int, why: str, make_gpus: MakeGpus, make_tools: Callable[[Instance], Tools]
) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    for function in case.functions:
        gpus.inject("return", 0, function=function, code=code)
    answer = take(case.name, {"gpu": uuid_of(gpus)}, tools)
    assert case.fields <= set(answer.unknown)
    assert not case.fields & set(answer.values)
    assert case.name == "gpu.xid" or any(why in str(reason) for reason in answer.unknown.values())


def test_a_lost_gpu_is_an_error_and_not_unknown(make_gpus: MakeGpus, make_tools: Callable[[Instance], Tools]) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    gpus.inject("return", 0, function="nvmlDeviceGetPowerUsage", code=15)
    with pytest.raises(DriverFailed, match="Reading watts of GPU") as caught:
        take("gpu.power", {"gpu": uuid_of(gpus)}, tools)
    assert caught.value.code == 15


def test_a_driver_without_the_newer_functions_is_read_in_the_old_way(tmp_path: Path, make_driver: MakeDriver) -> None:
    newer = ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetMarginTemperature"]
    gpus = create(tmp_path / "old", "a100", 1, seed=3, missing_symbols=newer)
    gpus.set(0, foreign_used_mib=1000)
    told = gpus.show()[0]["identity"]
    tools = Tools(make_driver(gpus), SystemClock())
    memory = take("gpu.memory", {"gpu": uuid_of(gpus)}, tools)
    assert memory.values["used_mib"] == 1000 + told["memory_reserved_mib"]
    assert "too old" in memory.why("reserved_mib")
    assert "too old" in take("gpu.fabric", {"gpu": uuid_of(gpus)}, tools).why("state")
    assert "too old" in take("gpu.temperature", {"gpu": uuid_of(gpus)}, tools).why("driver_margin_celsius")


@pytest.mark.parametrize("name", sorted(readings()))
def test_a_parameter_that_nobody_reads_is_refused(
    name: str, make_gpus: MakeGpus, make_tools: Callable[[Instance], Tools]
) -> None:
    with pytest.raises(BadRequest, match=rf"{name} has no parameter gpuu; it has:"):
        take(name, {"gpuu": 1}, make_tools(make_gpus(gpus=1)))


def test_an_unknown_reading_is_refused_with_the_known_ones(
    make_gpus: MakeGpus, make_tools: Callable[[Instance], Tools]
) -> None:
    with pytest.raises(
        BadRequest, match=r"no reading named gpu\.weight; there are: fleet\.facts, gpu\.clocks, .*gpu\.xid"
    ):
        take("gpu.weight", {}, make_tools(make_gpus(gpus=1)))


@pytest.mark.parametrize("gpu", [None, "", True, 1.5, ["GPU-1"]])
def test_a_gpu_that_is_no_name_is_refused(
    gpu: str, make_gpus: MakeGpus, make_tools: Callable[[Instance], Tools]
) -> None:
    with pytest.raises(BadRequest, match="gpu must be a text"):
        take("gpu.memory", {"gpu": gpu}, make_tools(make_gpus(gpus=1)))
