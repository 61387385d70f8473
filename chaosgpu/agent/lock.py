# SPDX-License-Identifier: Apache-2.0
"""Kernel locks on files: they end with the process that holds them, however it ends."""

import fcntl
import os

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import Refused, StoreFailed

__all__ = ["Lock", "held"]

_STEP_S = 0.005


class Lock:
    """An exclusive lock with a deadline; nobody who waits for it waits for ever."""

    def __init__(self, path: str, clock: Clock, wait_s: float, busy: str) -> None:
        self._path, self._clock, self._wait_s, self._busy = path, clock, wait_s, busy
        self._descriptor = -1

    def __enter__(self) -> None:
        if not self.take():
            raise Refused(self._busy)

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> bool:
        """Take the lock; False if somebody else still holds it when the time is over."""
        descriptor = _open(self._path)
        end_s = self._clock.boottime_s() + self._wait_s
        while not _got(descriptor, fcntl.LOCK_EX):
            if self._clock.boottime_s() >= end_s:
                os.close(descriptor)
                return False
            self._clock.sleep(_STEP_S)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it up."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def held(path: str) -> bool:
    """Tell whether some process holds the lock; asking does not take it from anybody."""
    descriptor = _open(path)
    try:
        return not _got(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _got(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreFailed(f"A lock could not be asked for: {error.strerror}.") from error
    return True


def _open(path: str) -> int:
    # Reading is enough for a lock, so that others' lock files can be used too; nobody's pipe must make us wait.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            return os.open(path, flags | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreFailed(f"The lock {path} cannot be opened: {error.strerror}.") from error
