# SPDX-License-Identifier: Apache-2.0
"""A controller that is lost, in phases of a run, on real hosts over SSH; all phases are struck by `bench.losses`."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.controllers import BOUND_S, TTL_S, StruckRun, all_clean_s, residue
from bench.hosts import Bench, Host
from bench.leases import broken
from bench.striking import started_by
from bench.waiting import wait_until
from support.chaos import TESTS


@pytest.fixture(autouse=True)
def _ended(tmp_path: Path) -> Iterator[None]:
    """End what a failed test has left stopped or running."""
    yield
    for pid in started_by(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)


def _runs(fleet: Bench, tmp_path: Path, phases: list[tuple[str, str]]) -> list[StruckRun]:
    """Start so many runs at once, each on a GPU of its own."""
    places = [(host, gpu) for host in fleet.hosts for gpu in (0, 1)]
    return [
        StruckRun(fleet, host, gpu, phase, blow, tmp_path / f"{host.name}-{gpu}").start()
        for (host, gpu), (phase, blow) in zip(places, phases, strict=True)
    ]


def test_a_lost_controller_leaves_nothing_on_its_host(fleet: Bench, host: Host, other: Host, tmp_path: Path) -> None:
    phases = [("during apply", "gone"), ("apply done and not answered", "kill")]
    runs = _runs(fleet, tmp_path, [*phases, ("active", "gone"), ("before undo", "kill")])
    late = all_clean_s(runs)
    assert max(late) <= TTL_S + BOUND_S
    assert late[2] > 0  # the fault was in force when that controller was gone
    for run in runs:
        run.bury()
    for one in (host, other):
        wait_until(lambda: residue(one) == [])  # noqa: B023 (called at once)


def test_a_controller_that_was_stopped_for_three_ttls_revives_nothing_and_says_so(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    phases = [("before apply", "stop"), ("during renew", "stop"), ("hypothesis after", "stop")]
    runs = _runs(fleet, tmp_path, [*phases, ("after the rollbacks", "stop")])
    assert max(all_clean_s(runs)) <= TTL_S + BOUND_S
    verdicts = [run.go_on().verdict for run in runs]
    assert [verdict for verdict, _ in verdicts] == ["inconclusive", "inconclusive", "inconclusive", "passed"], verdicts
    for one in (host, other):
        wait_until(lambda: residue(one) == [])  # noqa: B023 (called at once)


def test_a_renewer_that_outlives_its_controller_would_be_found(fleet: Bench, host: Host, tmp_path: Path) -> None:
    """The control for the tests above: with a renewer that does not care, the fault stays."""
    blind = str(TESTS / "support/blind_renewer.py")
    run = StruckRun(fleet, host, 0, "active", "kill", tmp_path / "run", renewer=blind).start()
    assert run.clean_s() > TTL_S + BOUND_S
    assert broken(host)
    assert residue(host) != []
    run.bury()


def test_two_controllers_on_one_claim_and_on_two(fleet: Bench, host: Host, tmp_path: Path) -> None:
    never = ("never", "kill")
    runs = [
        StruckRun(fleet, host, gpu, *never, tmp_path / str(n), lasts_s=4.0).start() for n, gpu in enumerate((0, 0, 1))
    ]
    one, two, apart = [run.chaos.finish(60) for run in runs]
    assert sorted(played.verdict[0] for played in (one, two)) == ["inconclusive", "passed"], one.said + two.said
    assert apart.verdict[0] == "passed", apart.said
    assert "lease.refused" in [*one.types, *two.types]
    wait_until(lambda: residue(host) == [])
