# SPDX-License-Identifier: Apache-2.0
"""Parents and children that do not outlive each other: prctl through ctypes, and ending a whole family."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["adopt_orphans", "die_with_parent", "end_descendants"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signum: int, parent: int) -> Callable[[], None]:
    """Return what a child runs before exec: the kernel sends it `signum` when its parent is gone."""

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
        if os.getppid() != parent:  # the parent went before the tie was made
            os.kill(os.getpid(), signum)

    return tie


def adopt_orphans() -> None:
    """Make this process the new parent of every descendant whose own parent dies."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """List this process's children, adopted ones included."""
    listed = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return [int(pid) for pid in " ".join(listed).split()]


def end_descendants(within_s: float) -> bool:
    """Kill and reap children until there are none, since a dead child's children become ours; False when time is up."""
    deadline = time.monotonic() + within_s
    while True:
        for pid in children():
            os.kill(pid, signal.SIGKILL)  # ours and not reaped, so the number cannot be another's
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if time.monotonic() > deadline:
            return False
        if reaped == 0:
            time.sleep(0.01)
