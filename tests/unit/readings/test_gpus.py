# SPDX-License-Identifier: Apache-2.0
"""Count, versions, reachability, health, and the gate for faults."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chaosgpu.agent.errors import BadRequest, DriverFailed
from chaosgpu.agent.readings.catalogue import Tools, take
from chaosgpu.agent.readings.health import healthy
from chaosgpu.sim.instance import Instance
from unit.readings.conftest import MakeGpus, uuid_of

type MakeTools = Callable[[Instance], Tools]


def test_a_lost_gpu_is_counted_by_nvml_and_does_not_answer(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus(gpus=4)
    tools = make_tools(gpus)
    gpus.inject("lost", 2)
    answer = take("gpu.count", {"expected": 4}, tools)
    assert answer.values["answering"] == 3
    assert answer.values["as_expected"] is False


def test_the_pci_bus_is_counted_beside_nvml(make_gpus: MakeGpus, make_tools: MakeTools, tmp_path: Path) -> None:
    for place, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x10de", "0x040300"), ("c", "0x8086", "0x030000")):
        folder = tmp_path / "devices" / place
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "class").write_text(kind + "\n")
    tools = make_tools(make_gpus(gpus=1))
    assert take("gpu.count", {}, replace(tools, pci_devices=str(tmp_path / "devices"))).values["on_pci_bus"] == 1
    blind = take("gpu.count", {}, replace(tools, pci_devices="/nonexistent"))
    assert "cannot be read" in blind.why("on_pci_bus")


def test_a_version_mismatch_is_a_value_and_not_an_error(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    gpus.inject("version_mismatch")
    answer = take("gpu.versions", {}, tools)
    assert answer.values["match"] is False
    assert "reboot, or reload" in str(answer.values["why"])
    assert set(answer.unknown) >= {"driver", "nvml", "cuda"}


def test_a_driver_that_is_not_loaded_has_no_versions(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    gpus.inject("driver_unloaded")
    with pytest.raises(DriverFailed, match="modprobe nvidia"):
        take("gpu.versions", {}, tools)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n", "580.95.05"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  610.43.02  Release Build\nGCC version:\n",
            "610.43.02",
        ),
    ],
)
def test_the_kernel_modules_version_is_read_from_proc(
    text: str, version: str, make_gpus: MakeGpus, make_tools: MakeTools, tmp_path: Path
) -> None:
    folder = tmp_path / "proc" / "driver" / "nvidia"
    folder.mkdir(parents=True)
    (folder / "version").write_text(text)
    tools = replace(make_tools(make_gpus(gpus=1)), proc=str(tmp_path / "proc"))
    assert take("gpu.versions", {}, tools).values["kernel_module"] == version


@pytest.mark.parametrize("code", [15, 16])
def test_a_gpu_that_is_lost_or_needs_a_reset_is_not_reachable(
    code: int, make_gpus: MakeGpus, make_tools: MakeTools
) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    name = uuid_of(gpus)
    assert take("gpu.reachable", {"gpu": name}, tools).values == {"reachable": True}
    gpus.inject("return", 0, function="nvmlDeviceGetTemperature", code=code)
    answer = take("gpu.reachable", {"gpu": name}, tools)
    assert answer.values["reachable"] is False
    assert answer.values["code"] == code


def test_a_gpu_that_never_was_is_the_callers_mistake(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    with pytest.raises(BadRequest, match="There is no GPU"):
        take("gpu.reachable", {"gpu": "GPU-00000000-0000-0000-0000-000000000000"}, make_tools(make_gpus()))


@pytest.mark.parametrize(
    ("profile", "fields", "reason"),
    [
        ("h100", {"recovery_action": 1}, "recovery action"),
        ("h100", {"remap_pending": 1}, "remap"),
        ("h100", {"remap_failure": 1}, "remap"),
        ("t4", {"retired_pending": 1}, "retire"),
        ("h100", {"lost": 1}, "fallen off the bus"),
    ],
)
def test_an_unhealthy_gpu_is_told_with_its_reason(
    profile: str, fields: dict[str, int], reason: str, make_gpus: MakeGpus, make_tools: MakeTools
) -> None:
    gpus = make_gpus(profile)
    tools = make_tools(gpus)
    name = uuid_of(gpus)
    assert healthy(tools.driver, name) == []
    gpus.set(0, **fields)
    reasons = healthy(tools.driver, name)
    assert len(reasons) == 1
    assert reason in reasons[0]
    assert healthy(tools.driver, uuid_of(gpus, 1)) == []


def test_a_gpu_that_needs_a_reset_is_unhealthy(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    gpus.inject("return", 0, function="nvmlDeviceGetTemperature", code=16)
    assert healthy(make_tools(gpus).driver, uuid_of(gpus)) == ["it needs a reset before it can be used"]


def test_a_driver_that_cannot_be_asked_is_no_healthy_gpu(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    gpus = make_gpus()
    tools = make_tools(gpus)
    name = uuid_of(gpus)
    gpus.inject("driver_unloaded")
    with pytest.raises(DriverFailed):
        healthy(tools.driver, name)
