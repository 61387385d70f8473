# SPDX-License-Identifier: Apache-2.0
"""Each stop condition of a host: not met, met, and not to be read, on simulated GPUs and files like the kernel's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.stops.contract import Condition
from chaosgpu.agent.stops.judge import look_at
from chaosgpu.agent.stops.registry import CONDITIONS
from chaosgpu.agent.stops.tree import checked, leaves
from chaosgpu.agent.stops.unit import Units
from chaosgpu.agent.values import JsonObject
from chaosgpu.sim.instance import Instance, create


@dataclass
class Place:
    """A host to look at: simulated GPUs, a kernel log, files like the kernel's and programs like systemd's."""

    gpus: Instance
    folder: Path
    tools: Tools

    def write(self, name: str, text: str | None) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
            path.chmod(0o755)

    def systemd(self, script: str) -> None:
        self.write("bin/systemctl", f'#!/bin/sh\ncase "$*" in *Version*) echo Version=255; exit;; esac\n{script}\n')
        self.write("bin/systemd-run", "#!/bin/sh\n")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    log = tmp_path / "kmsg"
    log.touch()
    gpus = create(tmp_path / "gpus", "h100", 2, seed=1, simulated_root=True)
    gpus.set_system(kmsg_path=str(log))
    gpus.set(0, temperature_celsius=60)
    gpus.set(1, temperature_celsius=60)
    driver = ForkedDriver(gpus.environment())
    made = Place(gpus, tmp_path, Tools(driver, SystemClock(), kernel_log=str(log), proc=str(tmp_path / "proc")))
    made.write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    2097152 kB\n")
    made.write("proc/loadavg", "1.50 0.9 0.8 2/345 6789\n")
    made.write("proc/pressure/memory", "some avg10=12.00 avg60=0.00 total=1\nfull avg10=0.00 avg60=0.00 total=1\n")
    made.systemd("echo ActiveState=active")
    yield made
    driver.close()


def lose_lanes(place: Place) -> None:
    place.gpus.set(1, pcie_width_cap=4)


def lose_nvlink(place: Place) -> None:
    place.gpus.set(0, nvlink_down_mask=1)


type Change = Callable[[Place], None]

# Condition, parameters, what makes it true, and a part of what it says then.
MET: list[tuple[str, JsonObject, Change, str]] = [
    ("file_exists", {"path": "{folder}/stop"}, lambda p: p.write("stop", ""), "/stop exists"),
    ("gpu_temperature_above", {"celsius": 80}, lambda p: p.gpus.set(1, temperature_celsius=81), "81 °C"),
    ("gpu_memory_below", {"free_mib": 50_000}, lambda p: p.gpus.set(0, foreign_used_mib=70_000), "MiB free"),
    ("gpu_ecc_grown", {}, lambda p: p.gpus.set(1, ecc_volatile_uncorrected=[0, 1]), "1 new uncorrected"),
    ("gpu_xid", {}, lambda p: p.gpus.inject("xid", 1, xid=48), "Xid 48"),
    ("gpu_xid", {"expected": [31]}, lambda p: p.gpus.inject("lost", 0), "Xid 79"),
    ("gpu_link_lost", {}, lose_lanes, "4 PCIe lanes, and had 16"),
    ("gpu_link_lost", {}, lose_nvlink, "NVLinks, and had"),
    ("host_memory_below", {"mib": 1024}, lambda p: p.write("proc/meminfo", "MemAvailable: 1024 kB\n"), "1 MiB of"),
    ("host_load_above", {"load": 2}, lambda p: p.write("proc/loadavg", "2.50 1 1 2/3 4\n"), "is 2.5"),
    (
        "host_pressure_above",
        {"percent": 50, "resource": "memory"},
        lambda p: p.write("proc/pressure/memory", "some avg10=60.50 avg60=0 total=1\n"),
        "60.5 %",
    ),
    ("unit_not_active", {"unit": "a.service"}, lambda p: p.systemd("echo ActiveState=failed"), "a.service is failed"),
]


def hang(function: str) -> Change:
    return lambda place: place.gpus.inject("return", 1, function=function, code=999)


# What makes the reading impossible.
UNREAD: list[tuple[str, JsonObject, Change, str]] = [
    ("file_exists", {"path": "/proc/self/stat/x"}, lambda _: None, "Not a directory"),
    ("gpu_temperature_above", {"celsius": 80}, hang("nvmlDeviceGetTemperature"), "999"),
    ("gpu_temperature_above", {"celsius": 80}, lambda p: p.gpus.inject("lost", 1), "of 2 GPUs that NVML shows 1"),
    ("gpu_temperature_above", {"celsius": 80}, lambda p: p.gpus.inject("driver_unloaded"), "not loaded"),
    ("gpu_memory_below", {"free_mib": 9}, hang("nvmlDeviceGetMemoryInfo_v2"), "999"),
    ("gpu_ecc_grown", {}, hang("nvmlDeviceGetTotalEccErrors"), "999"),
    ("gpu_link_lost", {}, hang("nvmlDeviceGetCurrPcieLinkWidth"), "999"),
    ("gpu_link_lost", {}, hang("nvmlDeviceGetNvLinkState"), "Reading NVLink 0"),
    ("gpu_xid", {}, lambda p: p.write("kmsg", None), "cannot be read"),
    ("host_memory_below", {"mib": 1}, lambda p: p.write("proc/meminfo", None), "cannot be read"),
    ("host_memory_below", {"mib": 1}, lambda p: p.write("proc/meminfo", "MemAvailable: much kB\n"), "does not tell"),
    ("host_load_above", {"load": 9}, lambda p: p.write("proc/loadavg", ""), "is empty"),
    ("host_load_above", {"load": 9}, lambda p: p.write("proc/loadavg", "nan 1 1\n"), "'nan'"),
    ("host_load_above", {"load": 9}, lambda p: p.write("proc/loadavg", "high\n"), "'high'"),
    ("host_pressure_above", {"percent": 9, "resource": "io"}, lambda _: None, "cannot be read"),
    (
        "host_pressure_above",
        {"percent": 9, "resource": "memory"},
        lambda p: p.write("proc/pressure/memory", "full avg10=1\n"),
        "does not tell",
    ),
    ("unit_not_active", {"unit": "a.service"}, lambda p: p.systemd("exit 1"), "ended with 1"),
    ("unit_not_active", {"unit": "a.service"}, lambda p: p.systemd("echo what"), "systemd said"),
    ("unit_not_active", {"unit": "a.service"}, lambda p: p.write("bin/systemctl", None), "no systemd here"),
]


def begun(place: Place, name: str, raw: JsonObject) -> tuple[Condition, JsonObject, JsonObject]:
    """Check the parameters and begin."""
    condition = CONDITIONS[name]
    if name == "unit_not_active":
        condition = replace(condition, look=Units(str(place.folder), (str(place.folder / "bin"),)).look)
    filled: JsonObject = {
        key: text.format(folder=place.folder) if isinstance(text, str) else text for key, text in raw.items()
    }
    [(_, params)] = leaves(checked({name: filled}))
    return condition, params, condition.begin(params, place.tools)


@pytest.mark.parametrize(("name", "raw", "change", "says"), MET, ids=lambda value: value if type(value) is str else "")
def test_a_condition_is_met_when_its_cause_comes_and_not_before(
    place: Place, name: str, raw: JsonObject, change: Change, says: str
) -> None:
    condition, params, since = begun(place, name, raw)
    before = look_at(condition, params, since, place.tools)
    assert before.met is False, before.reading
    change(place)
    after = look_at(condition, params, since, place.tools)
    assert after.met is True, after.reading
    assert says in after.reading


@pytest.mark.parametrize(
    ("name", "raw", "change", "says"), UNREAD, ids=lambda value: value if type(value) is str else ""
)
def test_what_cannot_be_read_is_neither_met_nor_unmet(
    place: Place, name: str, raw: JsonObject, change: Change, says: str
) -> None:
    condition, params, since = begun(place, name, raw)
    change(place)
    look = look_at(condition, params, since, place.tools)
    assert look.met is None, look.reading
    assert says in look.reading


def test_every_condition_is_tried_both_ways() -> None:
    assert {case[0] for case in MET} == {case[0] for case in UNREAD} == set(CONDITIONS)


def test_an_expected_xid_and_one_before_the_fault_stop_nothing(place: Place) -> None:
    place.gpus.inject("xid", 0, xid=79)
    condition, params, since = begun(place, "gpu_xid", {"expected": [31]})
    place.gpus.inject("xid", 0, xid=31)
    look = look_at(condition, params, since, place.tools)
    assert (look.met, look.reading) == (False, "no new Xid but those expected (31)")


def test_a_log_that_was_cut_and_counters_that_went_back_are_not_trusted(place: Place) -> None:
    place.gpus.inject("xid", 0, xid=13)
    place.gpus.set(0, ecc_volatile_uncorrected=[0, 4])
    xid, ecc = begun(place, "gpu_xid", {}), begun(place, "gpu_ecc_grown", {})
    place.write("kmsg", "")
    place.gpus.set(0, ecc_volatile_uncorrected=[0, 0])
    assert "it was cut" in look_at(*xid, place.tools).reading
    assert "not counted through" in look_at(*ecc, place.tools).reading


def test_one_gpu_can_be_meant(place: Place) -> None:
    uuid = str(place.gpus.show()[0]["identity"]["uuid"])
    condition, params, since = begun(place, "gpu_temperature_above", {"celsius": 80, "gpu": uuid})
    place.gpus.set(1, temperature_celsius=90)
    assert look_at(condition, params, since, place.tools).met is False
    place.gpus.set(0, temperature_celsius=90)
    assert look_at(condition, params, since, place.tools).met is True
