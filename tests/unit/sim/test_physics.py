# SPDX-License-Identifier: Apache-2.0
"""Load makes heat: clocks, power, temperature, and what holds them down."""

import time
from collections.abc import Callable
from typing import Any

import pytest

READ = {
    "clock": "nvml.nvmlDeviceGetClockInfo(device(), 1)",
    "power": "nvml.nvmlDeviceGetPowerUsage(device())",
    "heat": "nvml.nvmlDeviceGetTemperature(device(), 0)",
    "load": "nvml.nvmlDeviceGetUtilizationRates(device()).gpu",
    "reasons": "nvml.nvmlDeviceGetCurrentClocksEventReasons(device())",
}


def _until(said: Callable[[], bool], within_s: float = 5) -> None:
    end = time.monotonic() + within_s
    while not said():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def burning(make: Any, start: Any) -> tuple[Any, Any]:
    """Give a GPU under full load, with its time a hundred times as fast for heat."""
    gpus = make()
    gpus.set_system(physics_speed=100)
    peer = start(gpus)
    assert peer("start() or launch('hang')") == 0
    _until(lambda: peer(READ["load"]) > 90)
    return gpus, peer


def test_an_idle_gpu_is_cool_and_slow(make: Any, start: Any) -> None:
    peer = start(make("t4"))
    assert peer(READ["clock"]) == 300
    assert peer(READ["power"]) == 10000
    assert 25 < peer(READ["heat"]) < 40
    assert peer(READ["reasons"]) == 1
    assert peer("nvml.nvmlDeviceGetPerformanceState(device())") == 8
    assert peer("nvml.nvmlDeviceGetCurrPcieLinkGeneration(device())") == 1


def test_load_raises_clock_power_and_temperature(burning: tuple[Any, Any]) -> None:
    _, peer = burning
    assert peer(READ["clock"]) == 1980
    assert peer(READ["power"]) > 550_000
    _until(lambda: peer(READ["heat"]) > 55)
    assert peer(READ["reasons"]) == 0
    energy = peer("nvml.nvmlDeviceGetTotalEnergyConsumption(device())")
    time.sleep(0.05)
    assert peer("nvml.nvmlDeviceGetTotalEnergyConsumption(device())") - energy > 20_000


def test_the_link_is_at_full_speed_under_load(make: Any, start: Any) -> None:
    peer = start(make("t4"))
    assert peer("start() or launch('hang')") == 0
    assert peer("nvml.nvmlDeviceGetCurrPcieLinkGeneration(device())") == 3


def test_load_ends_with_the_process_that_made_it(make: Any, start: Any) -> None:
    gpus = make()
    burner, watcher = start(gpus), start(gpus)
    assert burner("start() or launch('hang')") == 0
    _until(lambda: watcher(READ["load"]) > 50)
    burner.kill()
    _until(lambda: watcher(READ["load"]) == 0)


def test_half_the_time_busy_is_about_half_the_load(make: Any, start: Any) -> None:
    gpus = make()
    burner, watcher = start(gpus), start(gpus)
    assert burner("start() or launch('spin', 1)") == 0
    clock, pause = "__import__('time').monotonic()", "__import__('time').sleep(0.01)"
    cycle = f"(launch('spin', 700000), cuda.cuCtxSynchronize(), {clock}, {pause}, {clock})[2::2]"
    began = time.monotonic()
    pauses = burner(f"[{cycle} for _ in range(60)]")  # on a busy machine they are longer than asked
    took_s = time.monotonic() - began
    share = 100 - sum(after - before for before, after in pauses) / took_s * 100
    assert watcher(READ["load"]) == pytest.approx(share, abs=20)


def test_a_power_cap_lowers_clock_and_draw_and_says_so(burning: tuple[Any, Any]) -> None:
    gpus, peer = burning
    peer("nvml.nvmlDeviceSetPowerManagementLimit(device(), 300000)")
    assert peer(READ["clock"]) < 1500
    assert peer(READ["power"]) <= 300_000
    assert peer(READ["reasons"]) & 0x4
    held = peer("nvml.nvmlDeviceGetViolationStatus(device(), 0).violationTime")
    time.sleep(0.05)
    assert peer("nvml.nvmlDeviceGetViolationStatus(device(), 0).violationTime") - held > 40_000_000
    gpus.set(0, power_limit_mw=700000)
    assert not peer(READ["reasons"]) & 0x4


def test_a_power_cap_over_the_draw_changes_nothing(burning: tuple[Any, Any]) -> None:
    _, peer = burning
    peer("nvml.nvmlDeviceSetPowerManagementLimit(device(), 690000)")
    assert peer(READ["clock"]) == 1980
    assert not peer(READ["reasons"]) & 0x4


def test_locked_clocks_hold_under_load_and_idle(burning: tuple[Any, Any], make: Any, start: Any) -> None:
    _, peer = burning
    peer("nvml.nvmlDeviceSetGpuLockedClocks(device(), 600, 600)")
    assert peer(READ["clock"]) == 600
    assert peer(READ["reasons"]) & 0x2
    peer("nvml.nvmlDeviceResetGpuLockedClocks(device())")
    assert peer(READ["clock"]) == 1980
    idle = start(make("l40s"))
    idle("nvml.nvmlDeviceSetGpuLockedClocks(device(), 900, 900)")
    assert idle(READ["clock"]) == 900


def test_a_kernel_takes_longer_on_slower_clocks(make: Any, start: Any) -> None:
    peer = start(make())
    timed = "(lambda t: (launch('spin', 2000000), cuda.cuCtxSynchronize(), t() - began)[2] if (began := t()) else 0)"
    assert peer("start() or launch('spin', 1)") == 0
    expression = f"{timed}(__import__('time').monotonic)"
    fast = peer(expression)
    peer("nvml.nvmlDeviceSetGpuLockedClocks(device(), 495, 495)")
    assert peer(expression) > 3 * fast


def test_heat_throttles_in_software_first(burning: tuple[Any, Any]) -> None:
    gpus, peer = burning
    gpus.set(0, ambient_celsius=50)
    _until(lambda: peer(READ["reasons"]) & 0x20)
    assert peer(READ["clock"]) < 1980
    assert peer(READ["heat"]) < 92
    _until(lambda: peer("nvml.nvmlDeviceGetFieldValues(device(), [269])[0].value.ullVal") > 0)


def test_much_heat_throttles_in_hardware(burning: tuple[Any, Any]) -> None:
    gpus, peer = burning
    gpus.set(0, temperature_celsius=90)
    assert peer(READ["reasons"]) & 0x68 == 0x68
    assert peer(READ["clock"]) < 1000
    gpus.set(0, temperature_celsius=60)
    assert peer(READ["reasons"]) == 0


def test_a_gpu_too_hot_falls_off_the_bus(burning: tuple[Any, Any]) -> None:
    gpus, peer = burning
    gpus.set(0, temperature_celsius=96)
    peer.outcome(READ["heat"])
    assert peer.outcome(READ["heat"]) == "NVMLError_GpuIsLost"
    assert gpus.settings()[0]["last_xid"] == 79


def test_a_power_brake_halves_the_clock(burning: tuple[Any, Any]) -> None:
    gpus, peer = burning
    gpus.set(0, forced_event_reasons=0x80)
    assert peer(READ["clock"]) < 1000
    assert peer(READ["reasons"]) & 0x80


def test_readings_can_be_told(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    gpus.set(0, temperature_celsius=71, utilization_percent=42, power_mw=123000, foreign_used_mib=1000)
    assert [peer(READ[name]) for name in ("heat", "load", "power")] == [71, 42, 123000]
    assert peer("used_mib()") == 1000


_LOADS = "{one.pid: (one.smUtil, one.timeStamp) for one in nvml.nvmlDeviceGetProcessUtilization(device(), %d)}"


def test_asked_for_all_samples_the_driver_counts_what_others_did_before_and_since_a_sample_only_what_came_after(
    make: Any, start: Any
) -> None:
    """So it was on an H200 and an H100: a burn at 97 % was said to be 10 % busy, one at 55 % after it 92 %."""
    gpus = make()
    gpus.set_system(physics_speed=100)
    before, one = start(gpus), start(gpus)
    assert one("start()") == 0
    gpus.set(0, utilization_percent=4)
    assert before("start() or launch('spin', 1)") == 0
    time.sleep(1.5)
    gpus.set(0, utilization_percent=-1)
    before.kill()
    assert one("launch('hang')") == 0
    began_us = time.time() * 1e6
    _until(lambda: one.outcome(_LOADS % 0) != "NVMLError_NotFound")
    time.sleep(0.3)
    whole, newest_us = one(_LOADS % 0)[str(one.pid)]
    assert whole < 60
    assert newest_us == pytest.approx(began_us, abs=2e6)
    assert one.outcome(_LOADS % newest_us) == "NVMLError_NotFound"
    _until(lambda: one.outcome(_LOADS % newest_us) != "NVMLError_NotFound")
    since, later_us = one(_LOADS % newest_us)[str(one.pid)]
    assert since == 100
    assert later_us > newest_us
