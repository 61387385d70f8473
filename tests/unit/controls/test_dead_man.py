# SPDX-License-Identifier: Apache-2.0
"""The dead man's switch, with real processes: a lease lives as long as its run shows progress, and never again."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.process import alive
from chaosgpu.controls.session import Session
from support.agent_host import wait_until
from support.chaos import UNDO_ALL, python
from support.drill import Drill, who_is

# The promise for settings and processes: clean this long after the deadline.
BOUND_S = 5.0


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    found = Drill(tmp_path)
    yield found
    found.host.close()


def test_a_run_longer_than_its_ttl_keeps_its_lease_by_renewal_and_stops_it_before_the_undo(drill: Drill) -> None:
    chaos = drill.breaking(2 * drill.ttl_s)
    renewer = drill.renewer()
    played = chaos.finish()

    assert played.verdict[0] == "passed", played.said
    [lease] = drill.leases()
    assert lease["renewals"] >= 3
    renewed = [entry for entry in played.ledger if entry["type"] == "lease.renewed"]
    assert len(renewed) == 2  # the first, and the last with the count of all
    assert renewed[1]["renewals"] >= 3
    assert played.types.index("lease.reverting") > max(
        place for place, kind in enumerate(played.types) if kind == "lease.renewed"
    )
    assert re.search(r"ends by itself in \d s without this run, at the latest in 40 s", played.said)
    assert not alive(renewer)
    wait_until(lambda: drill.host.residue() == [])


def test_the_start_of_the_rollbacks_stops_the_renewal_and_spoils_no_verdict(drill: Drill) -> None:
    slow = python("slow", "wait", seconds=1.7 * drill.ttl_s)
    method = [python("break", "break_file", module="support.drill")]
    played = drill.chaos(method, drill.folder, [slow, UNDO_ALL]).finish(30)

    assert played.verdict[0] == "passed", played.said
    [lease] = drill.leases()
    assert lease["ended_by"] == "deadline"


def test_after_kill_9_of_the_controller_nothing_renews_and_the_host_is_clean_in_time(drill: Drill) -> None:
    assert _clean_after_kill_9(drill)
    assert drill.renewers() == []
    assert [lease["ended_by"] for lease in drill.leases()] == ["deadline"]
    wait_until(lambda: drill.host.residue() == [])


def test_a_child_that_keeps_the_pipe_of_a_killed_controller_open_keeps_no_lease_alive(drill: Drill) -> None:
    fork = python("fork", "leave_a_child", module="support.drill")
    chaos = drill.chaos([python("break", "break_file", module="support.drill"), fork, drill.wait(60)], drill.folder)
    chaos.wait_for(drill.waiting, 30)
    chaos.send(signal.SIGKILL)
    chaos.finish(5)
    wait_until(lambda: not drill.host.broken(), drill.ttl_s + BOUND_S)
    wait_until(lambda: drill.renewers() == [], drill.ttl_s + BOUND_S)


def test_a_renewer_that_ignores_the_end_of_its_controller_is_found_by_the_same_test(drill: Drill) -> None:
    blind = Path(__file__).parents[2] / "support/blind_renewer.py"
    assert not _clean_after_kill_9(drill, within_s=drill.ttl_s + 1, TEST_RENEWER=str(blind))
    renewer = drill.renewer()
    os.kill(renewer.pid, signal.SIGKILL)
    wait_until(lambda: not drill.host.broken())


def _clean_after_kill_9(drill: Drill, within_s: float | None = None, **environment: str) -> bool:
    chaos = drill.breaking(60, **environment)
    time.sleep(drill.ttl_s / 2)  # it has been renewed at least once
    chaos.send(signal.SIGKILL)
    chaos.finish(5)
    end_s = time.monotonic() + (drill.ttl_s + BOUND_S if within_s is None else within_s)
    while time.monotonic() < end_s and drill.host.broken():
        time.sleep(0.05)
    return not drill.host.broken()


def test_a_controller_stopped_for_three_ttls_finds_its_lease_ended_and_revives_nothing(drill: Drill) -> None:
    chaos = drill.breaking(60)
    renewer = drill.renewer()
    chaos.send(signal.SIGSTOP)
    time.sleep(3 * drill.ttl_s)
    assert not drill.host.broken()
    [ended] = drill.leases()
    assert not alive(renewer)
    chaos.send(signal.SIGCONT)
    played = chaos.finish(20)

    assert played.verdict[0] == "inconclusive"
    assert "was not in force to the end: its time was over" in played.verdict[1]
    assert played.journal["status"] == "interrupted"
    assert [run["status"] for run in played.journal["rollbacks"]] == ["succeeded"]
    assert drill.leases() == [ended]


def test_without_its_renewer_the_lease_ends_and_stops_a_method_in_the_middle_of_a_long_activity(drill: Drill) -> None:
    chaos = drill.breaking(60)
    renewer = drill.renewer()
    os.kill(renewer.pid, signal.SIGKILL)
    began_s = time.monotonic()
    played = chaos.finish(20)

    assert time.monotonic() - began_s < drill.ttl_s + BOUND_S
    assert played.verdict[0] == "inconclusive"
    assert "its time was over" in played.verdict[1]
    assert "Nothing is renewed any more: the renewer has ended" in played.said
    assert played.said.index("The method is stopped, undoing now") < played.said.index("VERDICT")
    wait_until(lambda: drill.host.residue() == [])


def test_once_its_renewer_is_gone_a_run_puts_no_long_fault_in(drill: Drill) -> None:
    again = python("again", "break_file", module="support.drill", fault="test.lock.hold")
    first = python("first", "break_file", module="support.drill")
    chaos = drill.chaos([first, drill.wait(drill.ttl_s / 3), again], drill.folder)
    chaos.wait_for(drill.waiting, 30)
    renewer = drill.renewer()
    os.kill(renewer.pid, signal.SIGKILL)
    played = chaos.finish()

    assert "lease.refused" in played.types
    assert "The lease would not be renewed, so it was not made: the renewer has ended" in played.said
    assert played.verdict[0] == "inconclusive"


def test_a_holder_that_dies_stops_the_method_within_seconds(drill: Drill) -> None:
    lock = python("lock", "break_file", module="support.drill", fault="test.lock.hold")
    chaos = drill.chaos([lock, drill.wait(60)], drill.folder)
    chaos.wait_for(drill.waiting, 30)
    [holder] = drill.host.holders()
    drill.host.kill(who_is(holder.pid))
    began_s = time.monotonic()
    played = chaos.finish(20)

    assert time.monotonic() - began_s < 6
    assert played.verdict[0] == "inconclusive"
    assert "the process that held it died" in played.verdict[1]


def test_a_thread_that_is_told_to_stop_is_not_taken_for_the_main_thread() -> None:
    session = Session({}, {}, {})
    session.stopped = "its fault has ended"
    told: list[str | None] = []
    background = threading.Thread(target=lambda: told.append(session.why_stop_here()))
    background.start()
    background.join()
    assert (told, session.main_knows) == (["its fault has ended"], False)
    assert session.why_stop_here() == "its fault has ended"
    assert session.main_knows
