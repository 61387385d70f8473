# SPDX-License-Identifier: Apache-2.0
"""What the drill believes of a host: a process that is ending is there until its locks are gone."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.selfdrill import oracle
from chaosgpu.selfdrill.host import kill

# Much memory to give back: between the end of its memory and of its locks lies a time that a look can fall into.
_HOLDER = """
import fcntl, mmap, sys
file = open(sys.argv[1], "wb")
fcntl.flock(file, fcntl.LOCK_EX)
held = mmap.mmap(-1, 1 << 29, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, len(held), mmap.PAGESIZE):
    held[page] = 1
print("held", flush=True)
sys.stdin.read()
"""


def _is_locked_once_its_holder_is_gone(folder: Path) -> bool:
    """Kill one that holds a lock; tell whether the lock is still held when it is no longer seen."""
    home, lock = folder / "home", folder / "lock"
    held = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"CHAOSGPU_AGENT_HOME": str(home)},
    )
    assert held.stdout is not None
    assert held.stdout.readline() == b"held\n"
    seen = oracle.Processes(oracle.mark_of(home))
    assert held.pid in seen.soon()
    kill(held.pid)
    while held.pid in seen.soon():
        pass
    locked = oracle.is_locked(lock)
    held.communicate(timeout=10)
    return locked


def test_one_that_is_ending_is_seen_until_its_locks_are_gone(tmp_path: Path) -> None:
    assert not any(_is_locked_once_its_holder_is_gone(tmp_path) for _ in range(3))


def test_without_the_wait_the_lock_outlives_what_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "_await_end", lambda _: None)
    assert any(_is_locked_once_its_holder_is_gone(tmp_path) for _ in range(3))
