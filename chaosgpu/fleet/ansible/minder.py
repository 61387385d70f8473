# SPDX-License-Identifier: Apache-2.0
"""Run one command and leave no process of it: at its end, at a deadline, and when whoever asked for it is gone.

`python minder.py DEADLINE_S FOLDER COMMAND…`, with the standard library alone. The end of standard input is the end of
the caller: everything is ended and FOLDER, which may hold secrets, is removed. Exit status: the command's, 124 at the
deadline, 125 where the caller ended it.

Ansible's workers have sessions of their own, so a process group is not enough: this process adopts whatever is
orphaned below it. An SSH connection that Ansible leaves open on purpose (ControlPersist) is spared: others may use it.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["CANCELLED", "DEADLINE", "main"]

DEADLINE, CANCELLED = 124, 125
_PR_SET_CHILD_SUBREAPER = 36
_POLITE_S = 2.0
_GONE_S = 5.0


def main(argv: list[str]) -> int:
    """Run it and return the exit status."""
    deadline_s, folder, command = time.monotonic() + float(argv[0]), argv[1], argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(CANCELLED))
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as child:
            try:
                status = _wait(child, deadline_s)
            finally:
                _end(child)
    finally:
        _end_all()
    if status == CANCELLED:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _wait(child: "subprocess.Popen[bytes]", deadline_s: float) -> int:
    """Wait for the command, the deadline or the caller's end."""
    ended = os.pidfd_open(child.pid)
    try:
        while (left_s := deadline_s - time.monotonic()) > 0:
            ready, _, _ = select.select([0, ended], [], [], left_s)
            if ended in ready:
                return child.wait()
            if ready and not os.read(0, 4096):
                return CANCELLED
    finally:
        os.close(ended)
    return DEADLINE


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the command as Ctrl-C does, so that it may tidy up."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_POLITE_S)
    if child.poll() is None:
        child.kill()


def _end_all() -> None:
    """Kill what is left below this process, until nothing is, and reap it."""
    until_s = time.monotonic() + _GONE_S
    left = [0]
    while left and time.monotonic() < until_s:
        left = _below(os.getpid())
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _below(root: int) -> list[int]:
    """Return the living processes below one, without the connections that are kept open."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, ahead = [], [root]
    while ahead:
        for pid in children.get(ahead.pop(), []):
            if not _is_kept_connection(pid):
                found.append(pid)
                ahead.append(pid)
    return found


def _is_kept_connection(pid: int) -> bool:
    """Tell whether this is the background process of an SSH connection that several commands share."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0 ")
    except OSError:
        return False
    return title.startswith(b"ssh: ") and title.endswith(b"[mux]")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
