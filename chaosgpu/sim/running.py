# SPDX-License-Identifier: Apache-2.0
"""Runs one command to its end as if it had been called directly: same terminal, same signals, same exit code."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from chaosgpu.errors import LabFailed

__all__ = ["run_command"]

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_SIGNALLED = 128  # what a shell adds to the number of the signal that ended a command


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command and give its exit code, or 128 plus the signal that ended it; signals are handed on."""
    child: subprocess.Popen[bytes] | None = None
    waiting: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        if number in _FROM_TERMINAL and sys.stdin is not None and sys.stdin.isatty():
            return  # the terminal has told the child as well
        if child is None:
            waiting.append(number)
        elif child.poll() is None:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        child = subprocess.Popen(command, env=dict(environment))
        for number in waiting:
            child.send_signal(number)
        code = child.wait()
    except OSError as error:
        raise LabFailed(f"{command[0]} could not be started: {error.strerror}.") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else _SIGNALLED - code
