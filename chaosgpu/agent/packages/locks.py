# SPDX-License-Identifier: Apache-2.0
"""dpkg's locks: waited for with a deadline, and never removed: whoever holds one is at work."""

import fcntl
import os
import struct
from typing import Optional

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.tools import Tools

__all__ = ["holder", "wait_free"]

_NAMES = ("lock-frontend", "lock")
_FLOCK = "hhlll"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_STEP_S = 0.1


def holder(tools: Tools) -> Optional[int]:
    """Return the process that holds one of the locks, None where both are free; 0 where it cannot be told."""
    for name in _NAMES:
        path = tools.admin / name
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError:
            return 0
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        finally:
            os.close(descriptor)
        if kind != fcntl.F_UNLCK:
            return int(pid)
    return None


def wait_free(tools: Tools, within_s: float) -> None:
    """Wait until both are free; Unanswered, with who holds it, where they are not in time."""
    end_s = tools.now_s() + within_s
    while True:
        pid = holder(tools)
        if pid is None:
            return
        if tools.now_s() >= end_s:
            raise Unanswered(
                f"dpkg is locked by process {pid} since more than {within_s:.0f} s. It is not ended and its lock is "
                f"not removed: see `ps -p {pid}`, wait for it, then ask again."
            )
        tools.sleep(_STEP_S)
