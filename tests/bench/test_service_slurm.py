# SPDX-License-Identifier: Apache-2.0
"""A host is taken out of a real Slurm and given back; the hands of others are left alone."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import slurm
from bench.hosts import BENCHES, Bench, Host
from bench.packaged import packaged
from bench.plan import me
from bench.service import ask, forget, gates, lines, refusal, struck
from bench.units import put, shown, take_away
from bench.waiting import wait_until
from chaosgpu.drill.command import Done
from chaosgpu.drill.preview import slurm_jobs

UNIT = "served.service"
WANTED: dict[str, Any] = {"slurm": {}, "units": [UNIT]}
RESERVATION = "chaosgpu-d1-gpu1"
REASON = "chaosgpu d1: autumn drill"
TAKEN = (("IDLE+DRAIN", REASON), [RESERVATION])
FREE: tuple[str, list[str]] = ("IDLE", [])

pytestmark = pytest.mark.timeout(900)  # as in test_service.py


@pytest.fixture(scope="module")
def made(machine: None) -> Iterator[Host]:  # noqa: ARG001 (it says that the machine can)
    """Give a host of its own with Slurm from Debian's packages, running."""
    layer = packaged("slurm", slurm.PACKAGES, lambda _: None)
    bench = Bench(BENCHES / f"slurm-{me().pid}")
    bench.up(1, extra=(str(layer),))
    try:
        [host] = bench.hosts
        slurm.on(host)
        yield host
    finally:
        bench.down()


@pytest.fixture
def node(made: Host) -> Iterator[Host]:
    """Give that host in service, with nothing of ours on it before or after."""
    put(made, UNIT)
    yield made
    made.run(["scancel", "--user=root"])
    forget(made)
    for name in slurm.reservations(made):
        made.run(["scontrol", "delete", "reservation", name])
    made.run(["scontrol", "update", f"NodeName={made.name}", "State=RESUME"])
    wait_until(lambda: _seen(made) == FREE, 60.0)
    take_away(made, UNIT)


def _seen(host: Host) -> tuple[str, list[str]]:
    """Return what Slurm itself says, but for the flag that follows a reservation after a while."""
    return slurm.node(host)[0].replace("+RESERVED", ""), slurm.reservations(host)


def _taken(host: Host) -> bool:
    state, names = _seen(host)
    return ((state, slurm.node(host)[1]), names) == TAKEN


def _active(host: Host) -> bool:
    return shown(host, UNIT, "ActiveState") == ["active"]


def test_the_node_is_reserved_and_drained_and_jobs_wait_until_it_is_back(node: Host) -> None:
    told = ask(node, "drain", check=True, **WANTED)
    assert (_seen(node), _active(node)) == (FREE, True)
    answer = ask(node, "drain", **WANTED)
    assert lines(answer) == {
        "host": "drained", "slurm node gpu1": f"drained: {REASON}", "slurm reservation": RESERVATION,
        f"unit {UNIT}": "down, start refused",
    }  # fmt: skip
    assert [told[key] for key in ("before", "after")] == [answer[key] for key in ("before", "after")]
    assert _taken(node)
    assert shown(node, "slurmd.service", "ActiveState") == ["active"]
    assert ask(node, "drain", **WANTED)["changed"] is False
    job = node.run(["sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 60"], check=True).stdout.strip()
    wait_until(lambda: f"{job} PENDING" in slurm.jobs(node), 30.0)
    told = ask(node, "return", check=True)
    back = ask(node, "return")
    assert (back["state"], back["left_alone"]) == ("in service", []), back
    assert [told[key] for key in ("before", "after")] == [back[key] for key in ("before", "after")]
    assert slurm.reservations(node) == []
    wait_until(lambda: f"{job} RUNNING" in slurm.jobs(node), 60.0)
    assert ask(node, "return")["changed"] is False


def test_a_node_with_somebodys_job_is_refused_with_its_id_and_nothing_is_touched(node: Host) -> None:
    job = slurm.submit(node)
    for check in (True, False):
        said = refusal(ask(node, "drain", check=check, **WANTED))
        assert f"Jobs are on Slurm's node gpu1: {job} (root, running)" in said
    assert (slurm.reservations(node), _active(node), gates(node)) == ([], True, [])
    assert "DRAIN" not in slurm.node(node)[0]


def test_slurm_itself_gives_no_node_with_a_job_that_came_after_our_look(node: Host) -> None:
    """What the reservation without IGNORE_JOBS is for; the control shows that with it the node would be taken."""
    slurm.submit(node)
    asked = [
        "scontrol",
        "create",
        "reservation",
        "ReservationName=x",
        "StartTime=now",
        "Duration=infinite",
        "Users=root",
    ]
    refused = node.run([*asked, "Nodes=gpu1"])
    assert (refused.returncode, "busy" in refused.stderr) == (1, True)
    assert node.run([*asked, "Nodes=gpu1", "Flags=IGNORE_JOBS"]).returncode == 0


def test_a_reason_that_somebody_else_gave_meanwhile_keeps_the_node_drained(node: Host) -> None:
    ask(node, "drain", **WANTED)
    node.run(["scontrol", "update", "NodeName=gpu1", "State=DRAIN", "Reason=disk is failing"], check=True)
    told = ask(node, "return", check=True)
    back = ask(node, "return")
    assert back["left_alone"] == told["left_alone"]
    assert back["left_alone"] == ["Slurm's node gpu1 is drained by somebody else (disk is failing); it was not resumed"]
    assert (_seen(node), slurm.node(node)[1], _active(node)) == (("IDLE+DRAIN", []), "disk is failing", True)


def test_a_node_that_somebody_resumed_meanwhile_is_left_so_and_told(node: Host) -> None:
    ask(node, "drain", **WANTED)
    node.run(["scontrol", "update", "NodeName=gpu1", "State=RESUME"], check=True)
    wait_until(lambda: _seen(node)[0] == "IDLE", 30.0)
    node.run(["scontrol", "delete", "reservation", RESERVATION], check=True)
    back = ask(node, "return")
    assert [line.partition(" by ")[0] for line in back["left_alone"]] == [
        "Slurm's node gpu1 was resumed",
        f"the reservation {RESERVATION} was removed",
    ]
    assert (_seen(node), _active(node)) == (FREE, True)


def test_a_node_that_others_have_drained_or_reserved_is_refused(node: Host) -> None:
    node.run(["scontrol", "update", "NodeName=gpu1", "State=DRAIN", "Reason=disk is failing"], check=True)
    assert "gpu1 is IDLE+DRAIN: disk is failing" in refusal(ask(node, "drain", **WANTED))
    node.run(["scontrol", "update", "NodeName=gpu1", "State=RESUME"], check=True)
    wait_until(lambda: _seen(node)[0] == "IDLE", 30.0)
    theirs = ["ReservationName=theirs", "StartTime=now", "Duration=60", "Users=root", "Nodes=gpu1"]
    node.run(["scontrol", "create", "reservation", *theirs], check=True)
    said = refusal(ask(node, "drain", **WANTED))
    assert "overlaps with another reservation" in said or "RESERVED" in said
    assert (_seen(node), slurm.reservations(node), _active(node)) == (("IDLE", ["theirs"]), ["theirs"], True)


def test_a_node_that_reboots_while_it_is_drained_stays_drained_and_returns(node: Host) -> None:
    node.run(["systemctl", "enable", "--quiet", UNIT], check=True)
    ask(node, "drain", **WANTED)
    node.reboot()
    wait_until(lambda: _taken(node), 60.0)  # Slurm shows it as not responding until its daemon has called
    assert not _active(node)
    back = ask(node, "return")
    assert (back["state"], back["left_alone"]) == ("in service", []), back
    assert (_seen(node), _active(node)) == (FREE, True)


def test_the_preview_of_a_drill_lists_the_jobs_that_squeue_tells_and_says_where_it_tells_nothing(
    node: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squeue").touch(0o700)  # found by its name; the real one that answers is the host's
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def run(words: Sequence[str], stdin: bytes, within_s: float) -> Done:
        done = node.run(["squeue", *words[1:]], stdin.decode(), within_s)
        return Done(done.returncode, done.stdout.encode(), done.stderr)

    assert slurm_jobs(node.name, run) == ()
    job = slurm.submit(node)
    assert slurm_jobs(node.name, run) == (f"{job} root RUNNING wrap",)
    strange = slurm_jobs("no-such-node", run)
    assert isinstance(strange, str)
    assert "no-such-node" in strange or "nvalid node" in strange
    node.run(["systemctl", "stop", "slurmctld"], timeout_s=60, check=True)
    silent = slurm_jobs(node.name, run)
    node.run(["systemctl", "start", "slurmctld"], timeout_s=60, check=True)
    wait_until(lambda: slurm.node(node)[0] != "unknown", 60.0)
    assert isinstance(silent, str), "no answer is not no job"


def test_without_a_controller_the_return_says_so_and_goes_on_when_it_is_there(node: Host) -> None:
    ask(node, "drain", **WANTED)
    node.run(["systemctl", "stop", "slurmctld"], timeout_s=60, check=True)
    said = refusal(ask(node, "return"))
    assert "Slurm says nothing of" in said
    node.run(["systemctl", "start", "slurmctld"], timeout_s=60, check=True)
    wait_until(lambda: slurm.node(node)[0] != "unknown", 60.0)
    assert ask(node, "return")["left_alone"] == []
    assert (_seen(node), _active(node)) == (FREE, True)


def test_a_drain_killed_at_each_step_ends_drained_or_as_it_was(node: Host) -> None:
    wanted: dict[str, Any] = {**WANTED, "reason": "autumn drill"}
    struck_at = 0
    while (steps := struck(node, "drain", struck_at + 1, **wanted)) is not None:
        struck_at += 1
        if struck_at % 2:
            assert ask(node, "drain", **wanted)["state"] == "drained"
            assert _taken(node), steps
        back = ask(node, "return")
        assert (back["state"], back["left_alone"]) == ("in service", []), (steps, back)
        assert (_seen(node), _active(node), gates(node)) == (FREE, True, []), steps
    assert struck_at >= 10
    ask(node, "return")


def test_a_return_killed_at_each_step_is_finished_by_the_next(node: Host) -> None:
    struck_at = 0
    while True:
        assert ask(node, "drain", **WANTED)["state"] == "drained"
        steps = struck(node, "return", struck_at + 1)
        if steps is None:
            break
        struck_at += 1
        back = ask(node, "return")
        assert (back["state"], back["left_alone"]) == ("in service", []), (steps, back)
        assert (_seen(node), _active(node), gates(node)) == (FREE, True, []), steps
    assert struck_at >= 9
