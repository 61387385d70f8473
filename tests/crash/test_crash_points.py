# SPDX-License-Identifier: Apache-2.0
"""A sample of the crash points: kill the agent at a call that changes something, and the host alone gets clean.

The whole, with every fault, phase and call, is `make figures-safety`; docs/crash-points.md says what a point is.
"""

import fcntl
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from chaosgpu.errors import Refused
from chaosgpu.selfdrill import oracle, points, strace
from chaosgpu.selfdrill.host import BOUND_S, FILE, LOCK, World
from chaosgpu.selfdrill.points import Outcome, Point, strike
from crash import sample, world

FAULTS = (FILE, LOCK, "gpu.power.cap", "gpu.memory.fill")
Struck = dict[str, list[tuple[Point, Outcome]]]


@pytest.fixture(scope="module")
def struck() -> Struck:
    """Strike the whole sample, two hosts at a time."""
    found: Struck = {fault: [] for fault in FAULTS}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for outcomes in pool.map(sample.strike_share, sample.shares(FAULTS)):
            for point, outcome in outcomes:
                found[point.fault].append((point, outcome))
    return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[World]:
    made = world.build(tmp_path, FILE)
    yield made
    made.end()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_kill_at_any_sampled_call_leaves_nothing(fault: str, struck: Struck) -> None:
    outcomes = struck[fault]
    assert [(point.key, outcome.residue) for point, outcome in outcomes if outcome.residue] == []
    assert len(outcomes) >= 20
    assert [point.key for point, outcome in outcomes if not outcome.hit] == []
    assert max(outcome.late_s for _, outcome in outcomes) <= BOUND_S
    assert {point.role for point, _ in outcomes} >= {"agent", "keep", "keep-revert"}


@pytest.mark.timeout(300)
def test_many_of_the_kills_came_while_the_fault_was_in_force(struck: Struck) -> None:
    in_force = {fault: sum(outcome.in_force for _, outcome in struck[fault]) for fault in FAULTS}
    assert min(in_force.values()) >= 1, in_force
    assert sum(in_force.values()) >= 10, in_force


def test_a_kill_that_never_comes_is_no_hit(host: World) -> None:
    point = Point(FILE, "apply", "agent", "process", strace.Call("rename", 999, ""))
    outcome = strike(host, point)
    assert (outcome.hit, outcome.at, outcome.residue, outcome.in_force) == (False, "", [], True)


def test_every_kind_of_residue_is_seen(host: World) -> None:
    host.renew()
    assert host.residue() == []
    host.ask("apply", {**host.order(), "ttl_s": 50})
    (host.lease_folder / "undo.1.new").touch()
    with (host.lease_folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = host.residue()
    assert oracle.litter(host.home) == ["undo.1.new"]
    host.ask("undo", {"protocol": 1, "lease": host.lease})
    kinds = [line.split(" ")[0] for line in found]
    assert kinds == ["the", "claim", "process", "lock", "lock", "lease"], found
    assert oracle.litter(host.home) == []
    points.wait_until(lambda: not host.residue(), BOUND_S)
    assert host.residue() == []


def test_a_record_is_read_without_the_agents_own_code(host: World) -> None:
    host.renew()
    assert oracle.record(host.lease_folder) is None
    host.ask("apply", host.order())
    found = oracle.record(host.lease_folder)
    assert found is not None
    assert found["state"] == "active"
    raw = bytearray((host.lease_folder / "state").read_bytes())
    raw[: oracle.SLOT_BYTES] = raw[oracle.SLOT_BYTES :] = b"\0" * oracle.SLOT_BYTES
    (host.lease_folder / "state").write_bytes(raw)
    assert oracle.record(host.lease_folder) == {"state": "unreadable"}


def test_without_strace_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Refused, match=r"strace, which is not installed: apt-get install strace\.$"):
        strace.find_strace()
