# SPDX-License-Identifier: Apache-2.0
"""The minder leaves no process of a command, whatever that has started and however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.waiting import wait_until
from chaosgpu.fleet.ansible import minder

# Starts two that nobody waits for: one in a session of its own, and one of that whose parent is gone at once.
_PROGRAM = """
import os, sys, time
for orphan in (False, True):
    if os.fork() == 0:
        os.setsid()
        if orphan and os.fork():
            os._exit(0)
        open(sys.argv[1] + f"/{os.getpid()}.pid", "w").close()
        time.sleep(60)
time.sleep(float(sys.argv[2]))
sys.exit(7)
"""
# A process with the title that ssh gives its background connection; it lives until the test ends it.
_KEPT = """
import os, subprocess, sys, time
pipe = sys.argv[1] + "/pipe"
os.mkfifo(pipe)
title = "ssh: /root/.ansible/cp/0a1b [mux]"
child = subprocess.Popen([title], executable="/bin/cat", stdin=os.open(pipe, os.O_RDWR), start_new_session=True)
open(sys.argv[1] + f"/{child.pid}.pid", "w").close()
time.sleep(0.5)
"""


def _start(folder: Path, deadline_s: float, lasts_s: float, program: str = _PROGRAM) -> "subprocess.Popen[bytes]":
    private = folder / "private"
    private.mkdir()
    command = [sys.executable, "-c", program, str(folder), str(lasts_s)]
    return subprocess.Popen(
        [sys.executable, "-I", str(minder.__file__), str(deadline_s), str(private), *command], stdin=subprocess.PIPE
    )


def _alive(folder: Path) -> list[str]:
    return [path.stem for path in folder.glob("*.pid") if Path(f"/proc/{path.stem}").exists()]


def _begun(folder: Path) -> None:
    wait_until(lambda: len(list(folder.glob("*.pid"))) == 2)


def test_at_the_commands_own_end_its_status_is_returned_and_nothing_is_left(tmp_path: Path) -> None:
    with _start(tmp_path, 30, 1) as mind:
        assert mind.wait(20) == 7
    assert len(list(tmp_path.glob("*.pid"))) == 2
    assert _alive(tmp_path) == []
    assert (tmp_path / "private").exists()


def test_at_the_deadline_everything_is_ended(tmp_path: Path) -> None:
    with _start(tmp_path, 1.5, 60) as mind:
        _begun(tmp_path)
        assert mind.wait(20) == minder.DEADLINE
    assert _alive(tmp_path) == []


def test_when_the_caller_is_gone_everything_is_ended_and_the_private_folder_removed(tmp_path: Path) -> None:
    with _start(tmp_path, 60, 60) as mind:
        _begun(tmp_path)
        assert mind.stdin is not None
        mind.stdin.close()
        assert mind.wait(20) == minder.CANCELLED
    assert _alive(tmp_path) == []
    assert not (tmp_path / "private").exists()


def test_a_connection_that_is_kept_open_for_others_is_spared(tmp_path: Path) -> None:
    with _start(tmp_path, 30, 0, _KEPT) as mind:
        assert mind.wait(20) == 0
    [kept] = _alive(tmp_path)
    os.kill(int(kept), signal.SIGKILL)


def test_a_command_that_ignores_the_polite_way_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    begun = time.monotonic()
    with _start(tmp_path, 0.5, 0, stubborn) as mind:
        assert mind.wait(20) == minder.DEADLINE
    assert time.monotonic() - begun < 10
