# SPDX-License-Identifier: Apache-2.0
"""The sweep that nobody asks for, and the reverter that a timer starts."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.agent_host import ENTRY, LOCK, AgentHost, wait_until


def _start(host: AgentHost, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(ENTRY), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=host.environment,
    )


def _tend(host: AgentHost) -> tuple[int, str]:
    child = _start(host, "tend")
    said, error = child.communicate(timeout=60)
    assert error == ""
    return child.returncode, said


def test_it_ends_what_is_over_and_says_so(host: AgentHost) -> None:
    host.apply(ttl_s=0.5)
    host.kill(host.keepers()[0])
    wait_until(host.over)
    assert _tend(host) == (0, "lease l1: active -> clean: its time was over\n")
    assert not host.residue()


def test_it_says_nothing_where_nothing_is_to_do(host: AgentHost) -> None:
    host.apply()
    host.undo()
    assert _tend(host) == (0, "")


def test_an_undo_that_fails_at_first_is_tried_again(host: AgentHost) -> None:
    well_again = host.folder / "well again"
    host.apply(ttl_s=0.5, breaks="undo:fail", until=str(well_again))
    host.kill(host.keepers()[0])
    wait_until(host.over)
    child = _start(host, "tend")
    wait_until(lambda: host.state().state == "reverting")
    time.sleep(0.5)  # the first try has failed
    assert host.broken()
    well_again.write_text("")
    said, _ = child.communicate(timeout=30)
    assert (child.returncode, host.state().state) == (0, "clean")
    assert "reverting -> clean" in said


def test_a_stuck_lease_is_told_each_time_and_keeps_no_other_waiting(host: AgentHost) -> None:
    host.apply(lease="bad", ttl_s=0.5, breaks="undo:hang")
    host.kill(host.keepers()[0])
    wait_until(lambda: host.over("bad"))
    status, said = _tend(host)
    assert status == 1
    assert "lease bad: active -> stuck" in said
    assert _tend(host) == (1, "not put back: bad; see `record`, mend the cause, then `undo`\n")


def test_a_reverter_that_is_started_too_early_waits_for_the_record(host: AgentHost) -> None:
    host.apply(ttl_s=1.5)
    host.kill(host.keepers()[0])
    child = _start(host, "due", str(host.home / "leases/l1"))
    with pytest.raises(subprocess.TimeoutExpired):
        child.communicate(timeout=0.5)
    assert host.broken()
    child.communicate(timeout=10)
    ended = host.state()
    assert (child.returncode, ended.state, ended.ended_by) == (0, "clean", "deadline")
    assert float(str(ended.history[-1]["boottime_s"])) >= ended.deadline_s


def test_a_reverter_of_a_renewed_lease_waits_longer(host: AgentHost) -> None:
    host.apply(LOCK, ttl_s=1.0)
    host.kill(host.keepers()[0])
    host.ask("renew", run="r1", ttl_s=2.5)
    child = _start(host, "due", str(host.home / "leases/l1"))
    with pytest.raises(subprocess.TimeoutExpired):
        child.communicate(timeout=1.2)
    assert host.broken()
    child.communicate(timeout=10)
    assert host.state().state == "clean"


def test_a_reverter_of_a_lease_that_has_ended_goes_at_once(host: AgentHost, tmp_path: Path) -> None:
    host.apply()
    host.undo()
    for folder in (host.home / "leases/l1", tmp_path / "home/leases/unknown"):
        child = _start(host, "due", str(folder))
        child.communicate(timeout=5)
        assert child.returncode == 0
