# SPDX-License-Identifier: Apache-2.0
"""Stops on the real `chaos run`, and what may come in between; the simulator's tests have each signal and kill -9."""

import signal
import time
from pathlib import Path
from typing import Any

from support.chaos import TINY, UNDO_ALL, Chaos, experiment, python


def _break_and_wait(folder: Path, seconds: float = 20) -> list[dict[str, Any]]:
    return [python("break it", "break_it"), python("wait", "wait", seconds=seconds, mark=str(folder / "waiting"))]


def test_a_stop_while_the_host_is_being_asked_loses_no_lease(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, experiment([python("break it", "break_it", mode="lost_reply", timeout_s=30)]))
    chaos.wait_for(tmp_path / "agent/broken")
    chaos.send(signal.SIGTERM)
    played = chaos.finish(15)

    assert not played.broken
    assert played.status == 1
    assert played.verdict == ("inconclusive", "stopped by SIGTERM")
    assert "lease.clean" in played.types


def test_under_nohup_a_hangup_does_not_stop_the_run(tmp_path: Path) -> None:
    method = [python("break it", "break_it"), python("wait", "wait", seconds=1, mark=str(tmp_path / "waiting"))]
    chaos = Chaos(tmp_path, experiment(method), ignore=(signal.SIGHUP,))
    chaos.wait_for(tmp_path / "waiting")
    chaos.send(signal.SIGHUP)
    assert chaos.finish(15).verdict[0] == "passed"


def test_without_the_guard_a_hangup_leaves_the_fault_and_no_journal(tmp_path: Path) -> None:
    method = [python("break", "set_aside"), *_break_and_wait(tmp_path)[1:]]
    chaos = Chaos(tmp_path, experiment(method, controls=[TINY], runtime={"rollbacks": {"strategy": "always"}}))
    chaos.wait_for(tmp_path / "waiting")
    chaos.send(signal.SIGHUP)
    played = chaos.finish(15)

    assert played.broken
    assert not (tmp_path / "journal.json").exists()


def test_more_signals_during_the_stop_do_not_cut_the_rollbacks_short(tmp_path: Path) -> None:
    rollbacks = [UNDO_ALL, python("slow", "wait", seconds=0.8, mark=str(tmp_path / "slow")), python("last", "says")]
    chaos = Chaos(tmp_path, experiment(_break_and_wait(tmp_path), rollbacks=rollbacks))
    chaos.wait_for(tmp_path / "waiting")
    chaos.send(signal.SIGTERM)
    chaos.wait_for(tmp_path / "slow")
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        chaos.send(stop)
    played = chaos.finish(15)

    assert [run["status"] for run in played.journal["rollbacks"]] == ["succeeded"] * 3
    assert played.types.count("signal") == 4
    assert played.verdict[0] == "inconclusive"


def test_a_stop_undoes_at_once_although_a_background_activity_hangs(tmp_path: Path) -> None:
    hanging = {**python("hang", "wait", seconds=3.0, mark=str(tmp_path / "waiting")), "background": True}
    chaos = Chaos(tmp_path, experiment([python("break it", "break_it"), hanging]))
    chaos.wait_for(tmp_path / "waiting")
    chaos.send(signal.SIGTERM)
    started = time.monotonic()
    while (tmp_path / "agent/broken").exists():
        assert time.monotonic() - started < 1.5
        time.sleep(0.02)
    assert chaos.process.poll() is None  # still waiting for its background
    played = chaos.finish(15)

    assert played.verdict[0] == "inconclusive"
    assert played.status == 1


def test_no_fault_is_put_in_once_the_run_is_being_stopped(tmp_path: Path) -> None:
    late = {**python("late", "break_it"), "background": True, "pauses": {"before": 1}}
    waiting = python("wait", "wait", seconds=20, mark=str(tmp_path / "waiting"))
    chaos = Chaos(tmp_path, experiment([late, waiting]))
    chaos.wait_for(tmp_path / "waiting")
    chaos.send(signal.SIGTERM)
    played = chaos.finish(15)

    assert not played.broken
    assert "lease.reserved" not in played.types
    assert "the run is being stopped or rolled back" in played.said
