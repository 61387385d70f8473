# SPDX-License-Identifier: Apache-2.0
"""However a bench ends, nothing of it stays: no process, mount, bridge, cgroup or file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.hosts import Bench
from bench.leftovers import clean, forget, left_of, only_one, sweep
from bench.plan import ROOT, BenchFailed, BenchPlan
from bench.waiting import wait_until

_UP_AND_WAIT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from pathlib import Path
from bench.hosts import Bench
bench = Bench(Path(sys.argv[1]))
bench.up(1, kept=sys.argv[2] == "kept")
print("up", flush=True)
time.sleep(600)
"""

_started: "list[subprocess.Popen[str]]" = []
_SLOW_S = 30.0


@pytest.fixture
def folder(machine: None, tmp_path: Path) -> Iterator[Path]:  # noqa: ARG001 (it says that the machine can)
    """Give a folder for a bench, and see that nothing stays whatever the test does."""
    place = tmp_path / "benches" / "one"
    _started.clear()
    yield place
    for child in _started:  # still there where its test has failed
        _kill(child)
    plan = BenchPlan.read(place)
    if plan is not None:
        rack = plan.rack()
        if rack is not None:
            os.kill(rack.pid, signal.SIGKILL)
        clean(plan)
        forget(plan)


def _start(folder: Path, how: str = "tied") -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", _UP_AND_WAIT, str(folder), how],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _started.append(child)
    return child


def _up_in_another_process(folder: Path, how: str = "tied") -> "tuple[subprocess.Popen[str], BenchPlan]":
    child = _start(folder, how)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    plan = BenchPlan.read(folder)
    assert plan is not None
    return child, plan


def _kill(child: "subprocess.Popen[str]") -> None:
    with child:  # and again where its test has failed
        child.kill()


def test_nothing_is_left_after_down(folder: Path) -> None:
    bench = Bench(folder)
    [host] = bench.up(1)
    plan = bench.plan
    before = left_of(plan)
    for kind in ("mount", "process", "rack", "/run/netns", "/sys/fs/cgroup"):  # the detector is not blind
        assert any(entry.startswith(kind) for entry in before), kind
    assert host.run(["hostname"]).stdout == "gpu1\n"
    bench.down()
    assert left_of(plan) == []
    bench.down()


def test_nothing_is_left_when_its_owner_is_killed(folder: Path) -> None:
    child, plan = _up_in_another_process(folder)
    _kill(child)
    wait_until(lambda: left_of(plan) == [])


def test_what_is_left_when_owner_and_rack_are_killed_is_swept_by_the_next_one(folder: Path) -> None:
    child, plan = _up_in_another_process(folder)
    rack = plan.rack()
    assert rack is not None
    os.kill(rack.pid, signal.SIGKILL)
    _kill(child)
    time.sleep(0.3)
    assert any(entry.startswith("process") for entry in left_of(plan))  # the host goes on without its rack
    assert sweep(folder.parent) == [plan.identity]
    assert left_of(plan) == []


@pytest.mark.parametrize(("how", "one"), [("tied", signal.SIGINT), ("tied", signal.SIGKILL), ("kept", signal.SIGKILL)])
def test_nothing_is_left_when_it_is_interrupted_on_its_way_up(folder: Path, how: str, one: signal.Signals) -> None:
    """A bench that is to be kept is its maker's until it is up."""
    for after_s in (0.0, 0.15, 0.5):
        child = _start(folder, how)
        wait_until(lambda: BenchPlan.read(folder) is not None, _SLOW_S)
        plan = BenchPlan.read(folder)
        assert plan is not None
        time.sleep(after_s)
        child.send_signal(one)
        child.communicate(timeout=30)
        wait_until(lambda: left_of(plan) == [], _SLOW_S)  # noqa: B023 (called at once); its rack may end a moment after it


def test_what_is_left_when_owner_and_rack_are_killed_on_the_way_up_is_swept(folder: Path) -> None:
    for after_s in (0.0, 0.2):
        child = _start(folder)
        wait_until(lambda: (plan := BenchPlan.read(folder)) is not None and plan.rack() is not None, _SLOW_S)
        plan = BenchPlan.read(folder)
        assert plan is not None
        time.sleep(after_s)
        rack = plan.rack()
        assert rack is not None
        os.kill(rack.pid, signal.SIGKILL)
        _kill(child)
        assert left_of(plan) != []  # the control: nobody else would take it away
        with only_one(folder.parent):
            assert sweep(folder.parent) == [plan.identity]
        assert left_of(plan) == []
        assert [path.name for path in folder.parent.iterdir()] == ["lock"]


def test_a_kept_bench_outlives_who_made_it_until_it_is_taken_down(folder: Path) -> None:
    child, plan = _up_in_another_process(folder, "kept")
    _kill(child)
    assert sweep(folder.parent) == []
    bench = Bench.attach(folder)
    assert bench.hosts[0].run(["hostname"]).stdout == "gpu1\n"
    with pytest.raises(BenchFailed, match="already up"):
        Bench(folder).up(1)
    bench.down()
    assert left_of(plan) == []


def test_two_benches_stand_side_by_side(folder: Path, fleet: Bench) -> None:
    bench = Bench(folder)
    [host] = bench.up(1)
    try:
        assert host.address == fleet.hosts[0].address  # each has its network for itself
        assert host.run(["cat", "/etc/machine-id"]).stdout != fleet.hosts[0].run(["cat", "/etc/machine-id"]).stdout
    finally:
        bench.down()
    assert fleet.hosts[0].run(["hostname"]).stdout == "gpu1\n"


def test_eight_hosts_answer_over_ssh_in_under_15_s_and_none_has_a_failed_unit(eight: tuple[Bench, float]) -> None:
    bench, took_s = eight
    assert took_s < 15
    assert [host.run(["hostname"]).stdout.strip() for host in bench.hosts] == [f"gpu{n}" for n in range(1, 9)]
    for host in bench.hosts:
        assert host.run(["systemctl", "is-system-running", "--wait"]).stdout == "running\n"
        assert host.run(["systemctl", "--failed", "--quiet"]).stdout == ""
