# SPDX-License-Identifier: Apache-2.0
"""Kill -9 at each step, until a run completes without being killed: afterwards the host alone must get clean."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from support.agent_host import FILE, LOCK, AgentHost, wait_until

MOST_STEPS = 30


@pytest.mark.parametrize("fault", [FILE, LOCK])
@pytest.mark.parametrize("who_cleans", ["sweep", "keeper or sweep later", "undo"])
def test_an_apply_killed_at_any_step_leaves_nothing(host: AgentHost, fault: str, who_cleans: str) -> None:
    in_force = 0
    for step in range(1, MOST_STEPS):
        lease = f"l{step}"
        order = {"protocol": 1, **host.order(fault, lease, ttl_s=2 if who_cleans.startswith("keeper") else 20)}
        answer = host.finish(host.start("apply", order, {"TEST_KILL_AT": str(step)}))
        in_force += host.broken()
        if who_cleans == "sweep":
            host.ask("sweep")
            if host.state(lease).state == "active":  # it was killed after it had done everything
                assert answer["status"] == 0 or step > 8
                host.undo(lease)
        elif who_cleans == "undo":
            host.undo(lease)
        else:
            # With a keeper armed nobody has to come; before that the next sweep finds the record.
            if not host.keepers():
                host.ask("sweep")
            elif answer["status"] == 0:
                host.undo(lease)
            wait_until(lambda lease=lease: host.state(lease).state == "clean", within_s=4)
        wait_until(lambda: not host.residue())
        if answer["status"] == 0:
            assert step > 8
            assert in_force > 1, "no kill hit while the fault was in force, so nothing was proved"
            return
    pytest.fail("the apply never completed")


def test_the_order_fault_then_record_leaves_residue(tmp_path: Path) -> None:
    """The control: the same kills on the same fault in the order that others use."""
    file = tmp_path / "file"
    residue = 0
    broken_order = """
import os, signal, sys
from pathlib import Path
file, record, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def step(number):
    if number == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
step(1)
prior = file.read_text()
file.write_text("broken")
step(2)
record.write_text(prior)
step(3)
"""
    for kill_at in (1, 2, 3, 4):
        file.write_text("well")
        record = tmp_path / f"record{kill_at}"
        subprocess.run([sys.executable, "-c", broken_order, file, record, str(kill_at)], check=False, timeout=20)
        if record.exists():
            file.write_text(record.read_text())
        residue += file.read_text() != "well"
    assert residue == 1


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_an_undo_killed_at_any_step_is_finished_by_the_next(host: AgentHost, fault: str) -> None:
    for step in range(1, MOST_STEPS):
        lease = f"l{step}"
        host.apply(fault, lease)
        for keeper in host.keepers():
            host.kill(keeper)
        answer = host.finish(host.start("undo", {"protocol": 1, "lease": lease}, {"TEST_KILL_AT": str(step)}))
        if answer["status"] < 0:
            assert host.undo(lease)["state"] == "clean"
        assert host.state(lease).ended_by == "undo"
        host.ask("sweep")
        wait_until(lambda: not host.residue())
        if answer["status"] == 0:
            assert step > 4
            return
    pytest.fail("the undo never completed")


def test_a_keeper_finishes_an_undo_that_was_killed(host: AgentHost) -> None:
    host.apply()
    answer = host.finish(host.start("undo", {"protocol": 1, "lease": "l1"}, {"TEST_KILL_AT": "1"}))
    assert answer["status"] == -signal.SIGKILL
    wait_until(lambda: host.state().state == "clean")
    assert not host.broken()


def test_undos_keeper_and_halt_at_once_are_safe_together(host: AgentHost) -> None:
    assert host.apply(LOCK, ttl_s=3)["status"] == 0
    active = host.state()
    wait_until(lambda: active.left_s(active.boot, SystemClock().boottime_s()) < 0.3)
    requests = [
        ("undo", {"lease": "l1"}),
        ("undo", {"run": "r1"}),
        ("sweep", {}),
        ("halt", {"by": "me", "reason": "x"}),
    ]
    children = [host.start(verb, {"protocol": 1, **request}) for verb, request in requests * 2]
    answers = [host.finish(child) for child in children]
    assert all(answer["status"] == 0 for answer in answers)
    states = {line["state"] for answer in answers for line in answer["leases"]}
    assert states <= {"clean", "reverting"}
    history = [line["state"] for line in host.state().history]
    assert history == ["reserved", "armed", "active", "reverting", "clean"]
    wait_until(lambda: not host.residue())


def test_undo_during_an_apply_wins(host: AgentHost) -> None:
    """The apply waits for its instant; the undo comes between, and nothing is injected after it."""
    order = {"protocol": 1, **host.order(LOCK, inject_at=time.time() + 1.0)}
    child = host.start("apply", order)
    wait_until(lambda: (host.home / "leases/l1/state").exists() and host.state().state == "armed")
    assert host.undo()["state"] == "clean"
    answer = host.finish(child)
    assert answer["error"]["kind"] == "refused"
    assert "ended by undo" in answer["error"]["message"]
    wait_until(lambda: not host.residue())


def test_a_reply_that_was_lost_is_no_lost_lease(host: AgentHost) -> None:
    steps = host.folder / "steps"
    child = host.start("apply", {"protocol": 1, **host.order()}, {"TEST_STEPS": str(steps), "TEST_KILL_AT": "99"})
    host.finish(child)
    last = len(steps.read_text().splitlines())
    host.undo()
    order = {"protocol": 1, **host.order(lease="l2")}
    assert host.finish(host.start("apply", order, {"TEST_KILL_AT": str(last)})) == {"status": -signal.SIGKILL}
    assert host.ask("apply", **host.order(lease="l2"))["state"] == "active"
    assert json.loads(host.claims()[0].read_text())["lease"] == "l2"


def test_what_a_killed_process_had_begun_to_write_goes_with_the_lease(host: AgentHost) -> None:
    host.apply()
    folder = host.home / "leases" / "l1"
    for name in ("undo.4711.new", "state.4711.new"):
        (folder / name).write_text("{")
    assert host.undo()["state"] == "clean"
    assert list(folder.glob("*.new")) == []
