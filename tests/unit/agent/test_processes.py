# SPDX-License-Identifier: Apache-2.0
"""Processes are known by pid and start time, and ended with their whole group."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.process import (
    Identity,
    alive,
    end_group,
    identity,
    process_tree,
    spawn_detached,
    start_time,
    started_under,
    tagged,
)
from support.agent_host import wait_until

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
PARENT = [sys.executable, "-S", "-c", "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()", *SLEEP]


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process with a child, in a session of its own."""
    environment = {**os.environ, "CHAOSGPU_AGENT_HOME": "/here"}
    with subprocess.Popen(PARENT, start_new_session=True, env=environment) as process:
        wait_until(lambda: len(process_tree(process.pid)) == 2)
        yield process
        process.kill()


def own(process: "subprocess.Popen[bytes]") -> Identity:
    found = identity(process.pid)
    assert found is not None
    return found


def test_a_group_is_ended_with_its_children(parent: "subprocess.Popen[bytes]") -> None:
    tree = process_tree(parent.pid)
    assert end_group(own(parent), time.sleep)
    wait_until(lambda: not any(alive(who) for who in tree))


def test_a_pid_with_another_start_time_is_not_touched(parent: "subprocess.Popen[bytes]") -> None:
    stranger = Identity(parent.pid, own(parent).start_time + 1)
    assert not alive(stranger)
    assert end_group(stranger, time.sleep)
    assert alive(own(parent))


def test_a_zombie_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        who = own(process)
        wait_until(lambda: not alive(who))
        assert start_time(process.pid) == who.start_time


def test_a_zombie_whose_threads_run_on_has_not_ended(tmp_path: Path) -> None:
    """Its files are open still: a holder that looks dead while it holds would be called clean."""
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with (tmp_path / "out").open("wb") as out, subprocess.Popen([sys.executable, "-c", code], stderr=out) as process:
        who = own(process)
        wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z")
        assert alive(who)
        process.kill()
        wait_until(lambda: not alive(who))


def test_only_processes_started_under_the_home_may_be_touched(parent: "subprocess.Popen[bytes]") -> None:
    assert started_under(parent.pid, "/here")
    assert not started_under(parent.pid, "/her")
    assert not started_under(1, "/here")
    assert parent.pid in {who.pid for who in tagged("CHAOSGPU_AGENT_HOME", "/here")}


def test_a_program_that_cannot_be_started_is_told_by_its_end(tmp_path: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    pid = spawn_detached([str(tmp_path / "missing")], {}, (nothing, nothing, nothing))
    os.close(nothing)
    assert pid is not None
    wait_until(lambda: identity(pid) is None or not alive(Identity(pid, start_time(pid) or 0)))
