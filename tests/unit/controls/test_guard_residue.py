# SPDX-License-Identifier: Apache-2.0
"""What a run leaves on its host after the last sweep makes it unsafe, with the finding in the reason."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.controls.last_look import last_look
from chaosgpu.controls.left_behind import LeftBehind, left_behind
from chaosgpu.errors import Unreachable
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports.memory import MemoryTransport
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.book import Book, Lease
from support.chaos import experiment, play, python
from unit.controls.test_guard_on_simulator import Rack

_HELD = "the steady state held under tiny.flag, and everything was put back"


def _played(folder: Path, whose: str) -> tuple[str, str]:
    (folder / "agent").mkdir()
    (folder / "agent" / "residue").write_text(whose)
    method = [python("break it", "break_it"), python("health", "holds", kind="probe")]
    return play(folder, experiment(method)).verdict


def test_residue_of_this_run_makes_it_unsafe_though_its_lease_is_clean(tmp_path: Path) -> None:
    verdict, why = _played(tmp_path, "this run")
    assert verdict == "unsafe"
    assert "claim.ended of lease" in why
    assert "by hand: rm it" in why


def test_residue_of_another_run_is_not_this_ones(tmp_path: Path) -> None:
    # The negative control: without residue of its own the same run passes.
    assert _played(tmp_path, "lease-of-yesterday") == ("passed", _HELD)


def test_with_the_real_agent_a_process_that_stays_makes_the_run_unsafe(tmp_path: Path) -> None:
    rack, pids = Rack(tmp_path), tmp_path / "pids"
    leave = python("leave", "leave_a_keeper", module="support.leaver", pids=str(pids))
    try:
        played = rack.chaos([rack.action("cap_power", watts=400), leave]).finish(60)
    finally:
        os.kill(int(pids.read_text()), signal.SIGKILL)
    assert played.verdict[0] == "unsafe", played.said
    assert "process.keeper of lease" in played.verdict[1]
    assert "lease.clean" in played.types


def _left(run: Any) -> LeftBehind:
    return left_behind(run, last_look(run, ["localhost"], also_keep=False).residue)


def test_a_host_that_cannot_say_is_not_clean() -> None:
    class _Run:
        id, book = "run", Book()

    _Run.book.put(Lease("l1", "localhost", "tiny.flag", "clean"))
    said: JsonObject = {"values": {"findings": []}, "unknown": {"our units": "systemctl did not answer"}}
    with use_transport(MemoryTransport(lambda _verb, _request: said)):
        assert _left(_Run()) == LeftBehind(unknown="our units: systemctl did not answer")

    def silent(_verb: str, _request: JsonObject) -> JsonObject:
        raise Unreachable("no answer")

    with use_transport(MemoryTransport(silent)):
        assert _left(_Run()) == LeftBehind(unknown="no answer")


@pytest.mark.parametrize("state", ["stuck", "active"])
def test_a_lease_that_is_open_is_told_once(state: str) -> None:
    class _Run:
        book = Book()

    _Run.book.put(Lease("l1", "localhost", "tiny.flag", state))
    finding: JsonObject = {"lease": "l1", "kind": "claim.ended", "where": "w", "what": "x", "by_hand": "y"}
    answer: JsonObject = {"values": {"findings": [finding]}}
    assert left_behind(_Run(), {"localhost": answer}) == LeftBehind()  # type: ignore[arg-type]
    _Run.book.put(Lease("l1", "localhost", "tiny.flag", "clean"))
    assert left_behind(_Run(), {"localhost": answer}).found  # type: ignore[arg-type]
