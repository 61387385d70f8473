# SPDX-License-Identifier: Apache-2.0
"""However a lab ends, nothing of it stays: no process, no shared memory; and what would stay without the guardian."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.cli import main as cli
from chaosgpu.errors import LabFailed
from chaosgpu.lab.plan import SHM, LabPlan
from chaosgpu.lab.prepare import LabOptions
from chaosgpu.lab.up import bring_up, running, take_down
from lab.helpers import kill, pids, processes_of, until

_COMMAND = [sys.executable, "-c", "import sys; from chaosgpu.cli.main import main; sys.exit(main(sys.argv[1:]))"]


def _quiet(_line: str) -> None:
    pass


def _lab_run(directory: Path, *command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*_COMMAND, "lab", "run", "--directory", str(directory), "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _left(directory: Path) -> list[str]:
    """List what a lab left: processes that carry its agent home, and its shared memory."""
    plan = LabPlan.read(directory)
    assert plan is not None
    return [*processes_of(directory).values(), *(str(path) for path in plan.leftover_shm())]


def test_a_command_runs_in_the_lab_and_its_exit_code_is_ours(tmp_path: Path) -> None:
    script = 'test -n "$CHAOSGPU_SIM_STATE" && test -f "$CHAOSGPU_CANARY" && echo "$CHAOSGPU_LAB_VARIANT" && exit 7'
    lab = _lab_run(tmp_path, "sh", "-c", script)
    out, said = lab.communicate(timeout=60)
    assert (lab.returncode, out) == (7, b"fragile\n"), said
    assert _left(tmp_path) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lab_lets_its_command_end_and_leaves_nothing(tmp_path: Path, signum: signal.Signals) -> None:
    trap = (
        "import signal,sys,time; end = lambda *_: sys.exit(5);"
        "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGINT, end);"
        "print('on', flush=True); time.sleep(60)"
    )
    lab = _lab_run(tmp_path, sys.executable, "-c", trap)
    assert lab.stdout is not None
    assert lab.stdout.readline() == b"on\n"
    lab.send_signal(signum)
    lab.communicate(timeout=30)
    assert lab.returncode == 5
    assert _left(tmp_path) == []


def test_a_lab_run_that_is_killed_takes_its_lab_and_its_command_with_it(tmp_path: Path) -> None:
    lab = _lab_run(tmp_path, sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)")
    assert lab.stdout is not None
    assert lab.stdout.readline() == b"on\n"
    lab.kill()
    lab.communicate(timeout=30)
    assert until(lambda: _left(tmp_path) == [], 15), _left(tmp_path)


_APPLY = """
import json, os, subprocess, sys
order = {"protocol": 1, "fault": "gpu.memory.fill",
         "params": {"gpu": os.environ["CHAOSGPU_LAB_GPU"], "used_percent": 50},
         "ttl_s": 60, "max_duration_s": 60, "run": "forgotten"}
said = subprocess.run([sys.executable, "-m", "chaosgpu.agent", "apply"], input=json.dumps(order), text=True,
                      stdout=subprocess.PIPE)
print(json.loads(said.stdout).get("state", said.stdout))
"""


def test_a_fault_that_nobody_undid_ends_with_the_lab(tmp_path: Path) -> None:
    lab = _lab_run(tmp_path, sys.executable, "-c", _APPLY)
    out, said = lab.communicate(timeout=60)
    assert (lab.returncode, out) == (0, b"active\n"), said
    assert _left(tmp_path) == []


def _kill_supervisor(directory: Path) -> None:
    kill(pids(directory)["supervisor"])


def _kill_guardian(directory: Path) -> None:
    kill(pids(directory)["guardian"])


def _kill_triton(directory: Path) -> None:
    kill(next(pid for pid, line in processes_of(directory).items() if "--model-repository" in line))


@pytest.mark.parametrize("end", [_kill_supervisor, _kill_guardian, _kill_triton])
def test_a_lab_whose_own_process_is_killed_leaves_nothing(tmp_path: Path, end: Callable[[Path], None]) -> None:
    bring_up(LabOptions(directory=tmp_path, lifetime_s=120), _quiet)
    try:
        assert len(_left(tmp_path)) >= 8  # guardian, supervisor, traffic, Triton, four stubs, four regions
        end(tmp_path)
        # One that is ending has given its memory back, and its name with it, a moment before it is gone.
        assert until(lambda: not (_left(tmp_path) or running(tmp_path)), 10), (_left(tmp_path), running(tmp_path))
    finally:
        take_down(tmp_path)


def test_with_guardian_and_supervisor_killed_at_once_processes_end_and_the_next_command_cleans(tmp_path: Path) -> None:
    bring_up(LabOptions(directory=tmp_path, lifetime_s=120, traffic=False), _quiet)
    for pid in pids(tmp_path).values():
        kill(pid)
    assert until(lambda: processes_of(tmp_path) == {}, 30), processes_of(tmp_path)
    assert not take_down(tmp_path)
    assert _left(tmp_path) == []


def test_plain_children_would_stay_when_their_parent_is_killed() -> None:
    """The negative control: the same end without guardian and ties leaves a process behind."""
    script = (
        "import subprocess; p = subprocess.Popen(['sleep', '30'], stdout=subprocess.DEVNULL);"
        "print(p.pid, flush=True); p.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    try:
        assert not until(lambda: not Path(f"/proc/{child}").exists(), 0.5)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_second_lab_in_one_folder_is_refused_and_two_folders_are_two_labs(fragile: LabPlan) -> None:
    with pytest.raises(LabFailed, match="already up"):
        bring_up(LabOptions(directory=Path(fragile.directory)), _quiet)
    assert running(Path(fragile.directory)) != []


def test_shared_memory_of_a_dead_lab_is_removed_when_the_folder_is_used_again(tmp_path: Path, fragile: LabPlan) -> None:
    plan = LabPlan(**{**fragile.__dict__, "identity": "deadbeef", "directory": str(tmp_path)})
    plan.write()
    region = SHM / f"{plan.shm_prefix}x"
    region.touch()
    assert not take_down(tmp_path)
    assert not region.exists()
    assert fragile.leftover_shm() != []  # another lab's stay


def test_status_and_env_say_where_the_lab_is(fragile: LabPlan, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lab", "status", "--directory", fragile.directory]) == 0
    assert fragile.url in capsys.readouterr().out
    assert cli.main(["lab", "env", "--directory", fragile.directory]) == 0
    assert f"export TRITON_URL={fragile.url}" in capsys.readouterr().out


def test_without_a_lab_status_env_and_down_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lab", "env", "--directory", str(tmp_path)]) == 1
    assert "no lab is up" in capsys.readouterr().err
    assert cli.main(["lab", "down", "--directory", str(tmp_path)]) == 0
    assert "no lab was up" in capsys.readouterr().err
