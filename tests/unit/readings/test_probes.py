# SPDX-License-Identifier: Apache-2.0
"""The probes through the agent's verbs: a number, a flag or an object where it is known, else a sentence."""

import inspect
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaosgpu.agent.process import tagged
from chaosgpu.agent.readings.catalogue import readings
from chaosgpu.errors import AgentFailed, BadArgument, ReadingUnknown, Unreachable
from chaosgpu.fleet.ask import use_transport
from chaosgpu.gpu import probes
from chaosgpu.host import probes as host_probes
from chaosgpu.sim.instance import Instance
from unit.readings.conftest import MakeAgent, MakeGpus, holding, uuid_of


@dataclass(frozen=True)
class Rack:
    """Simulated GPUs that the probes reach."""

    gpus: Instance

    @property
    def gpu(self) -> str:
        return uuid_of(self.gpus)


@pytest.fixture(params=["h100"])
def rack(request: pytest.FixtureRequest, make_gpus: MakeGpus, make_agent: MakeAgent) -> Iterator[Rack]:
    gpus = make_gpus(request.param)
    with use_transport(make_agent(gpus)):
        yield Rack(gpus)


@pytest.mark.usefixtures("rack")
def test_probes_of_the_host() -> None:
    assert probes.gpu_count() == 2
    assert probes.versions_match() is True
    versions = probes.driver_versions()
    assert (versions["driver"], versions["cuda"]) == ("610.43.02", "13.4")


def test_memory_probes(rack: Rack) -> None:
    rack.gpus.set(0, foreign_used_mib=8000)
    assert probes.memory_used_mib(rack.gpu) == 8000
    assert probes.memory_used_percent(rack.gpu) == pytest.approx(100 * 8000 / 81559)
    assert probes.memory_slope_mib_per_min(rack.gpu, window_s=0.05, samples=3) == 0


def test_the_slope_of_a_leak_is_seen(rack: Rack) -> None:
    with holding(rack.gpus, rack.gpu, 16, step_mib=16):
        slope = probes.memory_slope_mib_per_min(rack.gpu, window_s=0.5, samples=10)
    assert slope == pytest.approx(16 * 20 * 60, rel=0.4)


def test_utilization_now_and_over_a_window(rack: Rack) -> None:
    rack.gpus.set(0, utilization_percent=42)
    assert probes.utilization_percent(rack.gpu) == 42
    assert probes.utilization_percent(rack.gpu, window_s=0.05) == 42


def test_temperature_and_its_margin(rack: Rack) -> None:
    rack.gpus.set(0, temperature_celsius=80)
    assert probes.temperature_celsius(rack.gpu) == 80
    assert probes.thermal_margin_celsius(rack.gpu) == 7
    assert probes.temperature_celsius(rack.gpu, sensor="memory") > 0


def test_clocks_and_what_holds_them_down(rack: Rack) -> None:
    assert probes.is_throttled(rack.gpu) is False
    assert probes.sm_clock_mhz(rack.gpu) == 345
    rack.gpus.set(0, forced_event_reasons=0x80)
    assert probes.is_throttled(rack.gpu) is True
    assert probes.clock_event_reasons(rack.gpu)["bad_reasons"] == ["hw_power_brake"]


def test_throttle_time_is_counted_by_cause(rack: Rack) -> None:
    assert probes.throttle_time_ms(rack.gpu, window_s=0.05) == 0
    rack.gpus.set(0, forced_event_reasons=0x20)
    assert probes.throttle_time_ms(rack.gpu, window_s=0.1, cause="thermal") > 50
    assert probes.throttle_time_ms(rack.gpu, window_s=0.05, cause="power") == 0


def test_power_and_its_limit(rack: Rack) -> None:
    rack.gpus.set(0, power_mw=251_500, power_limit_mw=300_000)
    assert probes.power_watts(rack.gpu) == 251.5
    assert probes.power_limit_watts(rack.gpu) == 300


def test_errors_of_memory(rack: Rack) -> None:
    assert probes.ecc_uncorrected(rack.gpu) == 0
    rack.gpus.set(0, ecc_volatile_uncorrected=[1, 0], ecc_aggregate_uncorrected=[2, 0], remap_pending=1)
    assert probes.ecc_uncorrected(rack.gpu) == 1
    assert probes.ecc_uncorrected(rack.gpu, counter="aggregate") == 2
    assert probes.remapped_rows(rack.gpu) == {"corrected": 0, "uncorrected": 0, "pending": True, "failure": False}


@pytest.mark.parametrize("rack", ["t4"], indirect=True)
def test_retired_pages_are_of_older_products(rack: Rack) -> None:
    assert probes.retired_pages(rack.gpu) == {"single_bit": 0, "double_bit": 0, "pending": False}


def test_the_recovery_action(rack: Rack) -> None:
    assert probes.recovery_action(rack.gpu) == "none"
    rack.gpus.set(0, recovery_action=2)
    assert probes.recovery_action(rack.gpu) == "node_reboot"


def test_links(rack: Rack) -> None:
    rack.gpus.set(0, nvlink_down_mask=1, nvlink_crc_flit_errors=[3] + [0] * 17, pcie_replays=9)
    assert probes.nvlink_state(rack.gpu) == {"active": 17, "inactive": 1}
    assert probes.nvlink_errors(rack.gpu) == {"replay": 0, "recovery": 0, "crc_flit": 3, "crc_data": 0}
    assert probes.fabric_state(rack.gpu) == "completed"
    assert probes.pcie_replays(rack.gpu) == 9
    assert probes.pcie_replays(rack.gpu, window_s=0.05) == 0
    assert probes.pcie_link(rack.gpu)["degraded"] is False


@pytest.mark.parametrize("rack", ["t4"], indirect=True)
def test_an_idle_link_is_neither_sound_nor_degraded(rack: Rack) -> None:
    link = probes.pcie_link(rack.gpu)
    assert "degraded" not in link
    assert "ask under load" in str(link["unknown"])


def test_processes_are_named(rack: Rack) -> None:
    with holding(rack.gpus, rack.gpu, 32) as process:
        found = probes.gpu_processes(rack.gpu)
    assert (found["count"], found["orphans"]) == (1, 0)
    assert f'"pid": {process.pid}' in json.dumps(found["processes"])


def test_xids_since_a_moment(rack: Rack) -> None:
    before = probes.xid_since(rack.gpu)
    assert (before["count"], before["events"]) == (0, [])
    rack.gpus.inject("xid", 0, xid=95)
    place = before["next_sequence"]
    assert isinstance(place, int)
    after = probes.xid_since(rack.gpu, since_sequence=place, listen_s=0.01)
    assert after["count"] == 1
    assert after["heard"] == []


def test_settings(rack: Rack) -> None:
    rack.gpus.set(0, compute_mode=2)
    assert probes.gpu_settings(rack.gpu) == {
        "persistence": True,
        "compute_mode": "prohibited",
        "mig_enabled": False,
        "mig_pending": False,
        "ecc_enabled": True,
        "ecc_pending": True,
    }


def test_a_lost_gpu_is_not_reachable_and_not_counted(rack: Rack) -> None:
    name = rack.gpu
    assert probes.gpu_is_reachable(name) is True
    rack.gpus.inject("lost", 0)
    assert probes.gpu_is_reachable(name) is False
    assert probes.gpu_count() == 1
    with pytest.raises(AgentFailed, match="fallen off the bus"):
        probes.memory_used_mib(name)


@pytest.mark.parametrize("rack", ["geforce"], indirect=True)
@pytest.mark.parametrize(
    ("probe", "why"),
    [
        (probes.ecc_uncorrected, "does not offer it"),
        (probes.retired_pages, "does not offer it"),
        (probes.nvlink_state, "does not offer it|no NVLink"),
        (probes.nvlink_errors, "does not offer it|no NVLink"),
        (probes.fabric_state, "tells of no NVSwitch fabric for this GPU here; in a virtual machine it may be hidden"),
    ],
)
def test_what_a_product_cannot_tell_is_unknown_with_a_sentence(
    probe: Callable[[str], object], why: str, rack: Rack
) -> None:
    with pytest.raises(ReadingUnknown, match=rf"of GPU {rack.gpu} on localhost is unknown: .*({why}).*neither healthy"):
        probe(rack.gpu)


def test_a_version_mismatch_is_false_and_the_versions_unknown(rack: Rack) -> None:
    rack.gpus.inject("version_mismatch")
    assert probes.versions_match() is False
    with pytest.raises(ReadingUnknown, match="library and kernel module differ"):
        probes.driver_versions()
    with pytest.raises(AgentFailed, match="reboot, or reload the kernel module"):
        probes.gpu_count()


def test_a_driver_that_is_not_loaded_is_one_sentence(rack: Rack) -> None:
    rack.gpus.inject("driver_unloaded")
    with pytest.raises(AgentFailed, match="modprobe nvidia") as caught:
        probes.gpu_count()
    assert caught.value.kind == "driver"


def test_a_missing_library_is_one_sentence(make_agent: MakeAgent) -> None:
    with use_transport(make_agent(None)), pytest.raises(AgentFailed, match="install the NVIDIA driver"):
        probes.gpu_count()


@pytest.mark.parametrize(
    ("gpu", "sentence"),
    [
        ("0", "not by index 0: indices change; here they are: GPU-"),
        (0, "not by index 0: indices change; here they are: GPU-"),
        ("GPU-00000000-0000-0000-0000-000000000000", "There is no GPU"),
        ("0000:ff:00.0", "There is no GPU at PCI bus id"),
        ("", "gpu must be a GPU's UUID or PCI bus id, not ''"),
        (None, "gpu must be a GPU's UUID or PCI bus id, not None"),
        (True, "gpu must be a GPU's UUID or PCI bus id, not True"),
    ],
)
def test_a_gpu_that_is_named_wrongly_is_a_bad_argument(gpu: str, sentence: str, rack: Rack) -> None:
    assert rack.gpu
    with pytest.raises(BadArgument, match=sentence):
        probes.memory_used_mib(gpu)


def test_an_index_is_taken_where_it_is_allowed(rack: Rack) -> None:
    rack.gpus.set(1, foreign_used_mib=100)
    assert probes.memory_used_mib("1", allow_index=True) == 100


@pytest.mark.parametrize(
    "ask",
    [
        lambda gpu: probes.temperature_celsius(gpu, sensor="board"),
        lambda gpu: probes.throttle_time_ms(gpu, cause="boredom"),
        lambda gpu: probes.ecc_uncorrected(gpu, counter="total"),
        lambda gpu: probes.memory_slope_mib_per_min(gpu, window_s=0),
        lambda gpu: probes.memory_slope_mib_per_min(gpu, window_s=-1),
        lambda gpu: probes.memory_slope_mib_per_min(gpu, window_s=61),
        lambda gpu: probes.memory_slope_mib_per_min(gpu, window_s=1, samples=1),
        lambda gpu: probes.utilization_percent(gpu, window_s=float("nan")),
        lambda gpu: probes.xid_since(gpu, within_s=-5),
        lambda gpu: probes.power_watts(gpu, timeout_s=0),
        lambda gpu: probes.power_watts(gpu, hosts=""),
    ],
)
def test_a_value_that_makes_no_sense_is_a_bad_argument(ask: Callable[[str], object], rack: Rack) -> None:
    with pytest.raises(BadArgument):
        ask(rack.gpu)


def test_every_probe_is_exported_takes_json_and_shows_a_true_example() -> None:
    defined = {name for name, _ in inspect.getmembers(probes, inspect.isfunction) if _.__module__ == probes.__name__}
    assert set(probes.__all__) == defined
    for name in probes.__all__:
        function = getattr(probes, name)
        signature = inspect.signature(function)
        text = inspect.getdoc(function) or ""
        start = text.index('{"type"')
        example, _ = json.JSONDecoder().raw_decode(text[start:])
        assert (example["module"], example["func"]) == (probes.__name__, name)
        signature.bind(**example["arguments"])
        assert {"hosts", "timeout_s"} <= set(signature.parameters)
        assert signature.return_annotation is not inspect.Signature.empty
        assert {type(one.default) for one in signature.parameters.values()} <= {type, str, int, float, bool}


def test_the_documentation_has_a_row_for_every_probe_and_names_every_reading() -> None:
    text = (Path(__file__).parents[3] / "docs" / "probes.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert rows == {*probes.__all__, *host_probes.__all__}
    assert [name for name in readings() if f"`{name}`" not in text] == []


@pytest.fixture
def real_agent(make_gpus: MakeGpus, make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """Let the probes start the real agent process on simulated GPUs."""
    gpus = make_gpus()
    for name, text in {**gpus.environment(), **make_agent(gpus).environment}.items():
        monkeypatch.setenv(name, text)
    return gpus


def test_the_whole_way_to_an_agent_process(real_agent: Instance) -> None:
    real_agent.set(0, foreign_used_mib=4000)
    assert probes.memory_used_mib(uuid_of(real_agent)) == 4000
    with pytest.raises(BadArgument, match="not by index 1"):
        probes.memory_used_mib("1")


def test_a_hung_driver_is_one_sentence_and_leaves_nothing(real_agent: Instance) -> None:
    name = uuid_of(real_agent)
    real_agent.inject("hang", function="nvmlDeviceGetMemoryInfo_v2", hang_s=60)
    with pytest.raises(Unreachable, match=r"did not answer 'read' within 0\.8 s and was ended"):
        probes.memory_used_mib(name, timeout_s=0.8)
    end = time.monotonic() + 2
    while tagged("CHAOSGPU_SIM_STATE", str(real_agent.state)) and time.monotonic() < end:
        time.sleep(0.01)
    assert tagged("CHAOSGPU_SIM_STATE", str(real_agent.state)) == []


def test_a_product_that_remaps_rows_says_so_where_it_is_asked_for_retired_pages(rack: Rack) -> None:
    with pytest.raises(ReadingUnknown, match="this product remaps rows instead: ask remapped_rows"):
        probes.retired_pages(uuid_of(rack.gpus))
    rack.gpus.inject("return", 0, function="nvmlDeviceGetRemappedRows", code=3)
    with pytest.raises(ReadingUnknown, match="does not offer it"):
        probes.retired_pages(uuid_of(rack.gpus))
