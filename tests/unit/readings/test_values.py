# SPDX-License-Identifier: Apache-2.0
"""Each reading on each product says what the GPU says, and what the product cannot tell is unknown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.process import start_time
from chaosgpu.agent.readings.catalogue import Answer, Tools, take
from chaosgpu.agent.values import JsonValue
from chaosgpu.sim.instance import Instance, create
from unit.readings.conftest import holding, uuid_of

PROFILES = ["h100", "a100", "l40s", "t4", "geforce"]


@dataclass(frozen=True)
class Bench:
    """One product: its simulated GPUs and a driver on them."""

    profile: str
    gpus: Instance
    tools: Tools

    def read(self, name: str, **params: JsonValue) -> Answer:
        return take(name, {"gpu": uuid_of(self.gpus), **params}, self.tools)

    def told(self) -> dict[str, Any]:
        """Return what the simulator says of the GPU, field by field."""
        gpu = self.gpus.show()[0]
        return {**gpu["identity"], **gpu["settings"], **gpu["faults"], **gpu["counters"]}


@pytest.fixture(scope="module", params=PROFILES)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp(request.param)
    gpus = create(folder, request.param, 1, seed=7, simulated_root=True)
    driver = ForkedDriver(gpus.environment())
    yield Bench(request.param, gpus, Tools(driver, SystemClock(), kernel_log=str(folder / "kmsg")))
    driver.close()


def test_memory_adds_up(bench: Bench) -> None:
    bench.gpus.set(0, foreign_used_mib=1000)
    told, answer = bench.told(), bench.read("gpu.memory")
    bench.gpus.set(0, foreign_used_mib=0)
    assert answer.unknown == {}
    assert answer.values == {
        "total_mib": told["memory_total_mib"],
        "reserved_mib": told["memory_reserved_mib"],
        "used_mib": 1000,
        "free_mib": told["memory_total_mib"] - told["memory_reserved_mib"] - 1000,
        "used_percent": pytest.approx(100_000 / told["memory_total_mib"]),
        "processes": [],
    }


def test_utilization_is_that_of_the_gpu(bench: Bench) -> None:
    bench.gpus.set(0, utilization_percent=37)
    answer = bench.read("gpu.utilization")
    bench.gpus.set(0, utilization_percent=-1)
    assert answer.values["gpu_percent"] == 37
    assert answer.unknown == {}


def test_the_margin_is_to_the_devices_own_threshold(bench: Bench) -> None:
    bench.gpus.set(0, temperature_celsius=71)
    told, answer = bench.told(), bench.read("gpu.temperature")
    bench.gpus.set(0, temperature_celsius=-1)
    assert answer.values["celsius"] == 71
    for name in ("shutdown", "slowdown", "gpu_max"):
        assert answer.values[f"{name}_celsius"] == told[f"{name}_celsius"]
    assert answer.values["margin_celsius"] == told["gpu_max_celsius"] - 71
    assert answer.values["margin_to"] == "gpu_max"
    memory = "memory_max_celsius" in answer.values
    assert memory == (told["memory_max_celsius"] > 0)
    assert memory or "NVML 3" in answer.why("memory_max_celsius")


@pytest.mark.parametrize(
    ("bits", "bad", "benign"),
    [
        (0x1, [], ["idle"]),
        (0x4, [], ["sw_power_cap"]),
        (0x48, ["hw_slowdown", "hw_thermal_slowdown"], []),
        (0xE8, ["hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake"], []),
        (0x22, ["sw_thermal_slowdown"], ["applications_clocks_setting"]),
        (0x10000, ["unknown_0x10000"], []),
    ],
)
def test_clock_event_reasons_are_named_and_judged(bits: int, bad: list[str], benign: list[str], bench: Bench) -> None:
    bench.gpus.set(0, forced_event_reasons=bits, utilization_percent=90)
    answer = bench.read("gpu.clocks")
    bench.gpus.set(0, forced_event_reasons=0, utilization_percent=-1)
    seen = answer.values["benign_reasons"]
    assert isinstance(seen, list)
    assert answer.values["bad_reasons"] == bad
    assert set(benign) <= set(seen)
    assert answer.values["max_sm_mhz"] == bench.told()["sm_max_mhz"]


def test_power_is_told_in_watts_beside_its_limits(bench: Bench) -> None:
    told = bench.told()
    bench.gpus.set(0, power_mw=61500, power_limit_mw=told["power_min_mw"])
    answer = bench.read("gpu.power")
    bench.gpus.set(0, power_mw=-1, power_limit_mw=told["power_default_mw"])
    assert answer.values == {
        "watts": 61.5,
        "limit_watts": told["power_min_mw"] / 1000,
        "default_limit_watts": told["power_default_mw"] / 1000,
        "enforced_limit_watts": told["power_min_mw"] / 1000,
        "min_limit_watts": told["power_min_mw"] / 1000,
        "max_limit_watts": told["power_max_mw"] / 1000,
        "capped": True,
    }
    assert bench.read("gpu.power").values["capped"] is False


def test_ecc_errors_are_counted_or_unknown_where_ecc_is_off(bench: Bench) -> None:
    bench.gpus.set(0, ecc_volatile_corrected=[3, 4], ecc_volatile_uncorrected=[1, 0], ecc_aggregate_uncorrected=[5, 1])
    answer = bench.read("gpu.ecc")
    bench.gpus.set(0, ecc_volatile_corrected=[0, 0], ecc_volatile_uncorrected=[0, 0], ecc_aggregate_uncorrected=[0, 0])
    if bench.told()["ecc_mode"]:
        assert answer.values["enabled"] is True
        assert answer.values["corrected_volatile"] == 7
        assert answer.values["uncorrected_volatile"] == 1
        assert answer.values["uncorrected_aggregate"] == 6
    else:
        assert answer.values == {"enabled": False}
        assert "NVML 3" in answer.why("uncorrected_volatile")


def test_remapped_rows_are_counted_or_unknown_before_ampere(bench: Bench) -> None:
    bench.gpus.set(0, remapped_corrected=2, remapped_uncorrected=1, remap_pending=1)
    answer = bench.read("gpu.remapped_rows")
    bench.gpus.set(0, remapped_corrected=0, remapped_uncorrected=0, remap_pending=0)
    if bench.told()["row_remap_supported"]:
        assert answer.values == {"corrected": 2, "uncorrected": 1, "pending": True, "failure": False}
    else:
        assert answer.values == {}
        assert set(answer.unknown) == {"corrected", "uncorrected", "pending", "failure"}


def test_retired_pages_are_counted_or_unknown_from_ampere_on(bench: Bench) -> None:
    bench.gpus.set(0, retired_sbe=3, retired_dbe=1, retired_pending=1)
    answer = bench.read("gpu.retired_pages")
    bench.gpus.set(0, retired_sbe=0, retired_dbe=0, retired_pending=0)
    if bench.told()["retired_pages_supported"]:
        assert answer.values == {"single_bit": 3, "double_bit": 1, "pending": True}
    else:
        assert answer.values == {}
        assert set(answer.unknown) == {"single_bit", "double_bit", "pending"}


def test_the_recovery_action_is_told_by_name(bench: Bench) -> None:
    assert bench.read("gpu.recovery_action").values == {"code": 0, "action": "none"}
    bench.gpus.set(0, recovery_action=4)
    answer = bench.read("gpu.recovery_action")
    bench.gpus.set(0, recovery_action=0)
    assert answer.values == {"code": 4, "action": "drain_and_reset"}


def test_a_slower_link_is_degraded_under_load_only(bench: Bench) -> None:
    told = bench.told()
    bench.gpus.set(0, pcie_gen_cap=1, utilization_percent=0, pcie_replays=7)
    idle = bench.read("gpu.pcie")
    bench.gpus.set(0, utilization_percent=50)
    busy = bench.read("gpu.pcie")
    bench.gpus.set(0, pcie_gen_cap=0, utilization_percent=-1, pcie_replays=0)
    assert idle.values["replays"] == 7
    assert "ask under load" in idle.why("degraded")
    assert "degraded" not in idle.values
    assert busy.values["degraded"] is True
    assert (busy.values["generation"], busy.values["max_generation"]) == (1, told["pcie_gen_max"])


def test_a_narrower_link_is_degraded_even_when_idle(bench: Bench) -> None:
    bench.gpus.set(0, pcie_width_cap=4)
    answer = bench.read("gpu.pcie")
    bench.gpus.set(0, pcie_width_cap=0)
    assert (answer.values["width"], answer.values["max_width"]) == (4, 16)
    assert answer.values["degraded"] is True


def test_a_full_link_under_load_is_not_degraded(bench: Bench) -> None:
    bench.gpus.set(0, utilization_percent=50)
    answer = bench.read("gpu.pcie")
    bench.gpus.set(0, utilization_percent=-1)
    assert answer.values["degraded"] is False


def test_nvlinks_are_counted_with_their_errors_or_unknown(bench: Bench) -> None:
    links = bench.told()["nvlink_links"]
    bench.gpus.set(0, nvlink_down_mask=0b101, nvlink_replay_errors=[2] + [0] * 17, nvlink_crc_flit_errors=[1] * 18)
    answer = bench.read("gpu.nvlink")
    bench.gpus.set(0, nvlink_down_mask=0, nvlink_replay_errors=[0] * 18, nvlink_crc_flit_errors=[0] * 18)
    if links:
        assert (answer.values["active"], answer.values["inactive"]) == (links - 2, 2)
        assert answer.values["errors"] == {"replay": 2, "recovery": 0, "crc_flit": links, "crc_data": 0}
    else:
        assert answer.values == {}
        assert set(answer.unknown) >= {"active", "inactive", "errors"}


def test_the_fabric_state_is_told_or_unknown_without_nvswitch(bench: Bench) -> None:
    if not bench.told()["fabric_supported"]:
        assert bench.read("gpu.fabric").values == {}
        assert "state" in bench.read("gpu.fabric").unknown
        return
    bench.gpus.set(0, fabric_state=2, fabric_health_mask=0b0110)
    answer = bench.read("gpu.fabric")
    bench.gpus.set(0, fabric_state=3, fabric_health_mask=0)
    assert answer.values["state"] == "in_progress"
    assert answer.values["degraded_bandwidth"] is False
    assert answer.values["route_recovery"] is True
    assert set(answer.unknown) == {"route_unhealthy", "access_timeout_recovery"}


def test_modes_are_as_set(bench: Bench) -> None:
    told = bench.told()
    bench.gpus.set(0, compute_mode=3, persistence_mode=1)
    answer = bench.read("gpu.modes")
    bench.gpus.set(0, compute_mode=0)
    assert answer.values["compute_mode"] == "exclusive_process"
    assert answer.values["persistence"] is True
    assert answer.values["ecc_enabled"] is bool(told["ecc_mode"])
    assert ("mig_enabled" in answer.values) == bool(told["mig_supported"])


def test_a_process_is_told_with_its_memory_and_start_time(bench: Bench) -> None:
    context_mib = bench.told()["context_mib"]
    with holding(bench.gpus, uuid_of(bench.gpus), 64) as process:
        answer = bench.read("gpu.processes")
        assert answer.values["count"] == 1
        assert answer.values["orphans"] == 0
        found = answer.values["processes"]
        assert isinstance(found, list)
        assert isinstance(found[0], dict)
        assert found[0]["pid"] == process.pid
        assert found[0]["start_time"] == start_time(process.pid)
        assert found[0]["in_proc"] is True
        assert found[0]["used_mib"] == pytest.approx(64 + context_mib, abs=2)
        assert found[0]["kinds"] == ["compute"]
        assert bench.read("gpu.memory").values["used_mib"] == pytest.approx(64 + context_mib, abs=2)
    assert bench.read("gpu.processes").values["count"] == 0


def test_throttle_time_over_a_window_is_a_difference(bench: Bench) -> None:
    bench.gpus.set(0, forced_event_reasons=0x20)
    answer = bench.read("gpu.throttle", window_s=0.1)
    bench.gpus.set(0, forced_event_reasons=0)
    added = answer.values["added"]
    assert isinstance(added, dict)
    assert isinstance(added["thermal_ms"], (int, float))
    assert 50 < added["thermal_ms"] < 400
    assert added["power_ms"] == 0


def test_versions_are_those_of_the_driver(bench: Bench) -> None:
    answer = take("gpu.versions", {}, bench.tools)
    assert answer.values["match"] is True
    assert str(answer.values["nvml"]).endswith(str(answer.values["driver"]))


def test_the_count_compares_with_what_is_expected(bench: Bench) -> None:
    answer = take("gpu.count", {"expected": 2}, bench.tools)
    assert answer.values["count"] == 1
    assert answer.values["as_expected"] is False
