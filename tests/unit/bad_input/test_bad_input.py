# SPDX-License-Identifier: Apache-2.0
"""Each bad input through a real `chaos run`: one clear sentence, a non-zero exit, and nothing changed."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.sim.instance import Instance, create
from chaosgpu.triton.golden import Case as GoldenCase
from chaosgpu.triton.golden import Golden, write_golden
from chaosgpu.triton.tensors import Tensor
from support.chaos import GUARD, Chaos, Played, experiment, python
from unit.triton.services import closed_port, drips, raw, says

type Arguments = Mapping[str, object]
_NO_GPU = "GPU-00000000-0000-0000-0000-000000000000"
_POLICY = {"version": 1, "permit": ["gpu.*"], "max_duration_s": 600}


class Rack:
    """One simulated H100 and an agent's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sim: Instance = create(folder / "sim", "h100", 1, seed=11)
        self.home = folder / "agent"
        self.home.mkdir()
        (self.home / "policy.json").write_text(json.dumps(_POLICY))
        self.environment = self.sim.environment() | {"CHAOSGPU_AGENT_HOME": str(self.home)}
        self.gpu = str(self.sim.show()[0]["identity"]["uuid"])

    def play(self, func: str, arguments: Arguments) -> Played:
        given: dict[str, Any] = {"gpu": self.gpu, "duration_s": 20} | dict(arguments)
        method = [python(func, func, module="chaosgpu.gpu.actions", **given)]
        return Chaos(self.folder, experiment(method, controls=[GUARD]), ignore=(), **self.environment).finish(60)


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    made = Rack(tmp_path)
    try:
        yield made
    finally:
        made.sim.remove()


@dataclass(frozen=True)
class Case:
    """One bad input: what is wrong with the host, what is asked, and the sentence that tells it."""

    name: str
    func: str
    arguments: Arguments
    sentence: str
    prepare: Callable[[Rack], None] = field(default=lambda _: None)


def _no_library(rack: Rack) -> None:
    rack.environment["LD_LIBRARY_PATH"] = "/nonexistent"


CASES = [
    Case("no NVIDIA library", "cap_power", {"watts": 300}, "There is no libnvidia-ml.so.1 here", _no_library),
    Case(
        "driver not loaded", "cap_power", {"watts": 300}, "NVML answered 9",
        lambda rack: rack.sim.inject("driver_unloaded"),
    ),
    Case(
        "driver and library of two versions", "cap_power", {"watts": 300}, "NVML answered 18",
        lambda rack: rack.sim.inject("version_mismatch"),
    ),
    Case("no such GPU", "cap_power", {"gpu": _NO_GPU, "watts": 300}, f"There is no GPU {_NO_GPU}"),
    Case("an index where a UUID is demanded", "cap_power", {"gpu": "0", "watts": 300}, "gpu is the index 0"),
    Case("percent over 100", "fill_memory", {"used_percent": 101}, "over 0 and at most 100, not 101"),
    Case("a duration of zero", "cap_power", {"watts": 300, "duration_s": 0}, "must be a number of seconds over 0"),
    Case("a negative rate", "leak_memory", {"rate_mib_s": -5}, "rate_mib_s must be at least 0.5, not -5"),
    Case("a limit that the product has not", "cap_power", {"watts": 5000}, "watts must be between 200 and 700"),
    Case("another host", "cap_power", {"watts": 300, "hosts": "gpu-node-7"}, "hosts='gpu-node-7' cannot be reached"),
    Case(
        "no policy", "cap_power", {"watts": 300}, "This host has no policy",
        lambda rack: (rack.home / "policy.json").unlink(),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_gets_one_clear_sentence_a_non_zero_exit_and_leaves_nothing_changed(case: Case, rack: Rack) -> None:
    case.prepare(rack)
    before = rack.sim.settings()
    played = rack.play(case.func, case.arguments)
    assert played.status == 1, played.said
    assert case.sentence in played.said, played.said
    assert "Traceback" not in played.said
    assert rack.sim.settings() == before
    assert played.verdict[0] in {"inconclusive", "deviated"}, played.verdict
    assert "lease.active" not in played.types


def test_the_same_run_with_good_input_passes_so_the_table_can_fail(rack: Rack) -> None:
    assert rack.play("cap_power", {"watts": 300}).verdict[0] == "passed"


def test_a_second_run_on_the_same_gpu_is_refused_while_the_first_goes_on_undisturbed(rack: Rack) -> None:
    mark = rack.folder / "waiting"
    cap = python("cap", "cap_power", module="chaosgpu.gpu.actions", gpu=rack.gpu, duration_s=20, watts=300)
    wait = python("wait", "wait", seconds=20, mark=str(mark))
    first = Chaos(rack.folder, experiment([cap, wait], controls=[GUARD]), ignore=(), **rack.environment)
    first.wait_for(mark, 40)
    elsewhere = rack.folder / "second"
    elsewhere.mkdir()
    second = Chaos(elsewhere, experiment([cap | {"name": "again"}], controls=[GUARD]), ignore=(), **rack.environment)
    refused = second.finish(60)
    assert refused.status == 1
    assert "power_limit" in refused.said
    assert "lease.active" not in refused.types
    assert rack.sim.settings()[0]["power_limit_mw"] == 300_000
    os.killpg(first.process.pid, 15)
    assert first.finish(60).verdict[0] == "inconclusive"
    assert rack.sim.settings()[0]["power_limit_mw"] == 700_000


_IN = Tensor("IN", "FP32", (1,), (0.5,))
_OUT = Tensor("OUT", "FP32", (1,), (2.0,))


@contextmanager
def _down() -> Iterator[str]:
    yield closed_port()


@contextmanager
def _no_address() -> Iterator[str]:
    yield "not an address"


@dataclass(frozen=True)
class TritonCase:
    """One way in which a Triton is not there for the canary."""

    name: str
    server: Callable[[], AbstractContextManager[str]]
    sentence: str
    within_s: float = 0.5


_TRITON = [
    TritonCase("down", _down, "Connection refused"),
    TritonCase("at an address that is none", _no_address, "not 'not an address'"),
    TritonCase("asked for an answer within no time", _down, "within_s must be", within_s=0),
    TritonCase(
        "slow", lambda: raw(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 0.1, 30)), "no answer within 0.5 s"
    ),
    TritonCase("answering garbage", lambda: raw(says(b"\x00\x01 this is no HTTP \xff\r\n\r\n")), "is not HTTP"),
    TritonCase(
        "closing mid-body", lambda: raw(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{")),
        "closed the connection in the middle of its answer",
    ),
    TritonCase(
        "without that model",
        lambda: raw(says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 48\r\n\r\n"
                         b'{"error":"Request for unknown model: \'chat\'."}\n\n')),
        "HTTP 404: Request for unknown model",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", _TRITON, ids=lambda case: case.name)
def test_a_triton_that_cannot_be_right_ends_the_run_before_any_fault(case: TritonCase, rack: Rack) -> None:
    golden = rack.folder / "canary.json"
    write_golden(Golden("chat", (GoldenCase((_IN,), (_OUT,), batched=False),), {"OUT": 0.0}, 50), golden)
    cap = python("cap", "cap_power", module="chaosgpu.gpu.actions", gpu=rack.gpu, duration_s=20, watts=300)
    before = rack.sim.settings()
    with case.server() as url:
        asked: dict[str, Any] = {"url": url, "model": "chat", "within_s": case.within_s, "golden": str(golden)}
        canary = python("canary", "canary_is_right", kind="probe", module="chaosgpu.triton.probes", **asked)
        hypothesis = {"title": "right", "probes": [canary | {"tolerance": True}]}
        whole = experiment([cap], controls=[GUARD], **{"steady-state-hypothesis": hypothesis})
        played = Chaos(rack.folder, whole, ignore=(), **rack.environment).finish(60)
    assert played.status == 1
    assert case.sentence in played.said, played.said
    assert "Traceback" not in played.said
    assert "lease.active" not in played.types
    assert rack.sim.settings() == before
