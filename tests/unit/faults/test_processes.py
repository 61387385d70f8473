# SPDX-License-Identifier: Apache-2.0
"""Kill and stop: which processes are meant, which are never touched, and how they come back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.faults import proc_table
from chaosgpu.agent.faults.proc_table import Process
from chaosgpu.agent.process import Identity, identity
from chaosgpu.agent.values import JsonObject
from unit.faults.cases import state_of
from unit.faults.rig import Rig

NONE: set[int] = set()


def _process(pid: int, parent: int, session: int, unit: str = "/") -> Process:
    return Process(pid, pid * 10, "S", parent, session, 1000, unit)


def _table(*processes: Process) -> dict[int, Process]:
    return {process.pid: process for process in processes}


def _pids(found: list[Process]) -> list[int]:
    return [process.pid for process in found]


def test_a_stub_is_widened_to_its_server_and_all_other_stubs() -> None:
    server, stub, other = _process(100, 1, 100), _process(101, 100, 100), _process(102, 100, 100)
    assert _pids(proc_table.services([101], _table(server, stub, other), NONE)) == [100, 101, 102]


def test_a_worker_whose_parent_has_died_is_found_by_its_session() -> None:
    server, orphan = _process(100, 1, 100), _process(103, 1, 100)
    assert _pids(proc_table.services([100], _table(server, orphan), NONE)) == [100, 103]


def test_a_whole_systemd_unit_is_one_service() -> None:
    unit = "/system.slice/triton.service"
    server, helper = _process(100, 1, 100, unit), _process(200, 1, 200, unit)
    found = proc_table.services([100], _table(server, helper), NONE)
    assert _pids(found) == [100, 200]
    assert found[0].unit == "triton.service"


def test_a_login_session_is_no_service() -> None:
    login = "/user.slice/user-1000.slice/session-3.scope"
    mine, other = _process(100, 1, 100, login), _process(200, 1, 200, login)
    assert _pids(proc_table.services([100], _table(mine, other), NONE)) == [100]


def test_the_shell_that_we_run_under_is_not_part_of_the_service() -> None:
    shell, server, stub = _process(50, 1, 50), _process(100, 50, 50), _process(101, 100, 50)
    assert _pids(proc_table.services([101], _table(shell, server, stub), {50})) == [100, 101]


def test_without_that_rule_the_shell_would_be_stopped() -> None:
    shell, server, stub = _process(50, 1, 50), _process(100, 50, 50), _process(101, 100, 50)
    assert 50 in _pids(proc_table.services([101], _table(shell, server, stub), NONE))


def test_a_supervisor_in_a_session_of_its_own_is_not_stopped() -> None:
    supervisor, server = _process(50, 1, 50), _process(100, 50, 100)
    assert _pids(proc_table.services([100], _table(supervisor, server), NONE)) == [100]


def test_a_reused_pid_is_not_signalled() -> None:
    with subprocess.Popen(["/bin/sleep", "30"]) as process:
        who = identity(process.pid)
        assert who is not None
        assert not proc_table.send(Identity(who.pid, who.start_time - 1), signal.SIGKILL)
        assert process.poll() is None
        assert proc_table.send(who, signal.SIGKILL)
        assert process.wait(5) == -signal.SIGKILL
    assert not proc_table.send(who, signal.SIGKILL)


def test_our_own_ancestors_and_holders_are_ours(rig: Rig) -> None:
    answer = rig.apply("gpu.memory.fill", {"gpu": rig.uuid, "used_percent": 50})
    found = proc_table.ours(proc_table.look())
    assert {os.getpid(), os.getppid(), answer["observed"]["holder_pid"]} <= found


def test_a_holder_of_ours_is_not_killed(rig: Rig) -> None:
    answer = rig.apply("gpu.memory.fill", {"gpu": rig.uuid, "used_percent": 50})
    pid: int = answer["observed"]["holder_pid"]
    params: JsonObject = {"gpu": rig.uuid, "pid": pid, "restored_by": {"command": ["/bin/true"]}}
    refused = rig.apply("gpu.process.kill", params)
    assert "is our own" in refused["error"]["message"]


def test_under_a_home_only_what_was_started_under_it_is_touched(rig: Rig) -> None:
    environment = {key: text for key, text in rig.environment.items() if key != "CHAOSGPU_AGENT_HOME"}
    folder = rig.folder / "foreign"
    folder.mkdir()
    subprocess.run(rig.start_victim(folder), env=environment, check=True, timeout=20)
    (pid,) = rig.pids_on_gpu()
    try:
        answer = rig.apply("gpu.process.stop", {"gpu": rig.uuid, "pid": pid})
        assert answer["error"]["kind"] == "forbidden"
        assert state_of(pid) != "T"
    finally:
        os.killpg(pid, signal.SIGKILL)


def test_a_service_in_our_own_session_is_stopped_without_us(rig: Rig) -> None:
    folder = rig.folder / "near"
    folder.mkdir()
    script = str(Path(__file__).parent / "victim.py")
    with subprocess.Popen([sys.executable, script, "serve", str(folder)], env=rig.environment) as near:
        while not (folder / "ready").exists():
            time.sleep(0.02)
        answer = rig.apply("gpu.process.stop", {"gpu": rig.uuid, "pid": near.pid})
        assert answer["state"] == "active", answer
        assert os.getpid() not in answer["observed"]["stopped_pids"]
        assert rig.undo(answer["lease"])["state"] == "clean"
        os.kill(int((folder / "worker").read_text()), signal.SIGKILL)
        near.kill()


def test_what_somebody_stopped_before_stays_stopped_and_a_new_child_is_continued(rig: Rig) -> None:
    pid, folder = rig.victim()
    worker = int((folder / "worker").read_text())
    os.kill(worker, signal.SIGSTOP)
    answer = rig.apply("gpu.process.stop", {"gpu": rig.uuid, "pid": pid})
    assert {state_of(pid), state_of(worker)} == {"T"}
    undone = rig.undo(answer["lease"])
    assert undone["state"] == "clean"
    assert state_of(pid) != "T"
    assert state_of(worker) == "T"


def test_a_stopped_service_makes_no_progress_and_goes_on_afterwards(rig: Rig) -> None:
    pid, folder = rig.victim()
    answer = rig.apply("gpu.process.stop", {"gpu": rig.uuid, "pid": pid})
    before = [(folder / name).read_text() for name in ("count-serve", "count-work")]
    time.sleep(0.3)
    after = [(folder / name).read_text() for name in ("count-serve", "count-work")]
    assert rig.undo(answer["lease"])["state"] == "clean"
    time.sleep(0.3)
    later = [(folder / name).read_text() for name in ("count-serve", "count-work")]
    assert before == after
    assert all(int(new) > int(old) for new, old in zip(later, after, strict=True))


def test_a_service_killed_while_stopped_is_not_called_restored(rig: Rig) -> None:
    pid, _ = rig.victim()
    answer = rig.apply("gpu.process.stop", {"gpu": rig.uuid, "pid": pid})
    os.kill(pid, signal.SIGKILL)
    undone = rig.undo(answer["lease"])
    assert undone["state"] == "stuck"
    assert "ended while stopped" in undone["reason"]


def test_a_stopped_service_is_refused_as_no_effect(rig: Rig) -> None:
    pid, folder = rig.victim()
    for one in (pid, int((folder / "worker").read_text())):
        os.kill(one, signal.SIGSTOP)
    answer = rig.apply("gpu.process.stop", {"gpu": rig.uuid, "pid": pid})
    assert answer["error"]["kind"] == "no_effect"


def test_a_supervisor_that_was_faster_is_not_doubled(rig: Rig) -> None:
    pid, folder = rig.victim()
    marker = rig.folder / "restored"
    command = [sys.executable, "-c", f"open({str(marker)!r}, 'w').close()"]
    answer: Any = rig.apply("gpu.process.kill", {"gpu": rig.uuid, "pid": pid, "restored_by": {"command": [*command]}})
    os.kill(int((folder / "worker").read_text()), signal.SIGKILL)
    subprocess.run(rig.start_victim(folder), env=rig.environment, check=True, timeout=20)
    assert rig.undo(answer["lease"])["state"] == "clean"
    assert not marker.exists()


def test_a_service_that_does_not_come_back_is_stuck_and_named(rig: Rig) -> None:
    pid, _ = rig.victim()
    params: JsonObject = {"gpu": rig.uuid, "pid": pid, "back_within_s": 1, "restored_by": {"command": ["/bin/false"]}}
    answer = rig.apply("gpu.process.kill", params)
    assert answer["fidelity"] == "restart"
    undone = rig.undo(answer["lease"])
    assert undone["state"] == "stuck"
    assert "/bin/false" in undone["reason"]


@pytest.mark.parametrize("back", [{"command": ["/no/such/program"]}, {"unit": "no-such-unit.service"}])
def test_a_way_back_that_is_none_is_refused_before_the_kill(back: JsonObject, rig: Rig) -> None:
    pid, _ = rig.victim()
    answer = rig.apply("gpu.process.kill", {"gpu": rig.uuid, "pid": pid, "restored_by": back})
    assert answer["error"]["kind"] == "refused"
    assert pid in rig.pids_on_gpu()


def test_no_command_line_and_no_secret_is_in_the_record(rig: Rig) -> None:
    pid, folder = rig.victim()
    rig.environment["SECRET_TOKEN"] = "hunter2"  # noqa: S105 (the test's own)
    answer = rig.apply("gpu.process.kill", {"gpu": rig.uuid, "pid": pid, "restored_by": {"command": ["/bin/true"]}})
    prior = json.dumps(answer["prior"])
    assert str(folder) not in prior
    assert "hunter2" not in prior
