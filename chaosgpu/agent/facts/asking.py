# SPDX-License-Identifier: Apache-2.0
"""A program asked one question without the modules that starting one usually takes, which cost 10 ms on each host."""

import os
import select
import signal
import time
from typing import Sequence

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.systemd import ANSWER_WITHIN_S, Systemd

__all__ = ["OnlyAsked", "answer_of"]

_PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_BLOCK_BYTES = 65536
_LOOK_S = 0.002


class OnlyAsked(Systemd):
    """systemd that is only asked."""

    def ask(self, *words: str, within_s: float = ANSWER_WITHIN_S) -> str:  # type: ignore[override]  # no None
        """Run systemctl and return what it said; Unanswered where it failed or did not answer in time."""
        return answer_of((self.systemctl, "--no-pager", "--no-ask-password", *words), within_s)


def answer_of(words: Sequence[str], within_s: float) -> str:
    """Run a program in a session of its own and return its output; Unanswered where it failed or is too slow."""
    until_s = time.monotonic() + within_s
    read_end, write_end = os.pipe()
    try:
        child = os.posix_spawn(
            words[0],
            [*words],
            _PLAIN,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, write_end, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,
        )
    except OSError as error:
        os.close(read_end)
        raise Unanswered(f"`{' '.join(words)}` could not be started: {error.strerror}.") from error
    finally:
        os.close(write_end)
    said, status = b"", None
    try:
        while status is None and time.monotonic() < until_s:
            if select.select([read_end], [], [], until_s - time.monotonic())[0]:
                block = os.read(read_end, _BLOCK_BYTES)
                said += block
                if not block:
                    status = _ended(child, until_s)
    finally:
        os.close(read_end)
        if status is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if status is None:
        raise Unanswered(f"`{' '.join(words)}` did not answer within {within_s:g} s, and was ended.")
    if status != 0:
        raise Unanswered(f"`{' '.join(words)}` ended with {status}.")
    return said.decode(errors="replace")


def _ended(child: int, until_s: float) -> "int | None":
    """Wait for its end and return its status (below 0: a signal), or None where it does not end in time."""
    while time.monotonic() < until_s:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_LOOK_S)
    return None
