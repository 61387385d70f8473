# SPDX-License-Identifier: Apache-2.0
"""What undo puts back, what it leaves alone because a person changed it meanwhile, and what it says then."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from chaosgpu.agent.values import JsonObject
from unit.faults.rig import Rig


def _settings(rig: Rig) -> dict[str, Any]:
    settings: dict[str, Any] = rig.gpus.show()[0]["settings"]
    return settings


def _active(rig: Rig, fault: str, params: JsonObject) -> Any:
    answer = rig.apply(fault, {"gpu": rig.uuid, **params})
    assert answer.get("state") == "active", answer
    return answer


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


@pytest.mark.parametrize(
    ("fault", "params", "field", "foreign"),
    [
        ("gpu.power.cap", {"watts": 300}, "power_limit_mw", 450_000),
        ("gpu.compute_mode.set", {"mode": "prohibited"}, "compute_mode", 3),
    ],
)
def test_a_value_that_somebody_set_meanwhile_is_left_alone_and_told(
    fault: str, params: JsonObject, field: str, foreign: int, rig: Rig
) -> None:
    answer = _active(rig, fault, params)
    rig.gpus.set(0, **{field: foreign})
    undone = rig.undo(answer["lease"])
    assert undone["state"] == "clean"
    assert "that was not overwritten" in undone["left_alone"][0]
    assert _settings(rig)[field] == foreign


def test_a_setting_that_cannot_be_put_back_is_stuck_until_it_can(rig: Rig) -> None:
    answer = _active(rig, "gpu.power.cap", {"watts": 300})
    rig.gpus.inject("return", 0, function="nvmlDeviceSetPowerManagementLimit", code=999)
    assert rig.undo(answer["lease"])["state"] == "stuck"
    rig.gpus.inject("return", 0, function="nvmlDeviceSetPowerManagementLimit", code=0)
    assert rig.undo(answer["lease"])["state"] == "clean"
    assert _settings(rig)["power_limit_mw"] == 700_000


def test_what_went_with_persistence_is_put_back(rig: Rig) -> None:
    rig.gpus.set(0, power_limit_mw=300_000, compute_mode=3)
    before = rig.settings()
    answer = _active(rig, "gpu.persistence.off", {})
    rig.driver().call("setting_persistence", rig.uuid)  # a client comes
    rig.drivers[-1].close()  # and is the last to leave
    lost = _settings(rig)
    undone = rig.undo(answer["lease"])
    assert (lost["power_limit_mw"], lost["compute_mode"]) == (700_000, 0)
    assert (undone["state"], undone["left_alone"]) == ("clean", [])
    assert rig.settings() == before


def test_what_somebody_set_while_persistence_was_off_is_left_alone(rig: Rig) -> None:
    rig.gpus.set(0, power_limit_mw=300_000)
    answer = _active(rig, "gpu.persistence.off", {})
    rig.gpus.set(0, power_limit_mw=444_000)
    keep = rig.driver()
    keep.call("setting_persistence", rig.uuid)
    rig.gpus.set(0, power_limit_mw=444_000)
    undone = rig.undo(answer["lease"])
    assert undone["state"] == "clean"
    assert "power limit" in undone["left_alone"][0]
    assert _settings(rig)["power_limit_mw"] == 444_000


def test_a_lock_declared_by_the_operator_comes_back(rig: Rig) -> None:
    rig.gpus.set(0, sm_lock_min_mhz=1200, sm_lock_max_mhz=1500)
    before = rig.settings()
    prior: JsonObject = {"prior_lock": {"min_mhz": 1200, "max_mhz": 1500}}
    answer = _active(rig, "gpu.clock.lock", {"mhz": 600, **prior})
    assert rig.undo(answer["lease"])["state"] == "clean"
    assert rig.settings() == before


def test_a_declared_lock_comes_back_with_persistence_too(rig: Rig) -> None:
    rig.gpus.set(0, sm_lock_min_mhz=1200, sm_lock_max_mhz=1500)
    before = rig.settings()
    answer = _active(rig, "gpu.persistence.off", {"prior_lock": {"min_mhz": 1200, "max_mhz": 1500}})
    assert rig.undo(answer["lease"])["state"] == "clean"
    assert rig.settings() == before


def test_a_fill_holds_its_level_when_others_give_memory_back(rig: Rig) -> None:
    rig.gpus.set(0, foreign_used_mib=20_000)
    _active(rig, "gpu.memory.fill", {"leave_free_mib": 1000})
    free_before = rig.context().driver.call("memory_held", rig.uuid)
    rig.gpus.set(0, foreign_used_mib=0)
    driver = rig.driver()

    def free_mib() -> int:
        answer: Any = driver.call("memory_held", rig.uuid)
        return int(answer["free_bytes"]) >> 20

    assert isinstance(free_before, dict)
    assert free_mib() > 10_000
    assert _within(3, lambda: 998 <= free_mib() <= 1002)


def test_a_leak_leaves_exactly_what_it_shall_while_others_come_and_go(rig: Rig) -> None:
    driver = rig.driver()
    total = 81_559

    def free_mib() -> int:
        answer: Any = driver.call("memory_held", rig.uuid)
        return int(answer["free_bytes"]) >> 20

    goal = total // 10
    _active(rig, "gpu.memory.leak", {"rate_mib_s": 200_000, "leave_free_percent": 10})
    assert _within(3, lambda: abs(free_mib() - goal) <= 2)
    rig.gpus.set(0, foreign_used_mib=3000)
    time.sleep(0.3)
    held = free_mib()
    rig.gpus.set(0, foreign_used_mib=0)
    assert abs(held - (goal - 3000)) <= 2  # it gives nothing back
    assert abs(free_mib() - goal) <= 2  # and takes no more than before


def test_a_leak_keeps_its_rate(rig: Rig) -> None:
    answer = _active(rig, "gpu.memory.leak", {"rate_mib_s": 500, "ceiling_mib": 2000})
    driver, pid = rig.driver(), answer["observed"]["holder_pid"]

    def held_mib() -> int:
        found: Any = driver.call("memory_held", rig.uuid)
        return sum(int(one["used_bytes"]) >> 20 for one in found["processes"] if one["pid"] == pid)

    start_s, start = time.monotonic(), held_mib()
    time.sleep(1.0)
    grew, took_s = held_mib() - start, time.monotonic() - start_s
    assert 0.85 * 500 * took_s <= grew <= 1.15 * 500 * took_s
    context_mib = 518
    assert _within(5, lambda: held_mib() - context_mib >= 1998)
    time.sleep(0.2)
    assert held_mib() - context_mib <= 2000


def test_a_burn_ends_at_once(rig: Rig) -> None:
    answer = _active(rig, "gpu.burn", {"duty_percent": 100})
    start_s = time.monotonic()
    assert rig.undo(answer["lease"])["state"] == "clean"
    assert time.monotonic() - start_s < 2
    assert rig.pids_on_gpu() == set()
    assert _within(3, lambda: rig.gpus.show()[0]["readings"]["utilization_percent"] < 5)


def test_nobody_gets_in_while_the_squatter_has_the_gpu(rig: Rig) -> None:
    _active(rig, "gpu.compute_mode.set", {"mode": "exclusive_process", "squatter": True})
    refused = rig.apply("gpu.burn", {"gpu": rig.uuid})
    assert "exclusive compute mode" in refused["error"]["message"]
