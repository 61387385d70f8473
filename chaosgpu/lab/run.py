# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu lab run -- COMMAND`: a lab for as long as the command runs, and not a moment longer."""

import os
import signal
import subprocess
from collections.abc import Callable

from chaosgpu.errors import LabFailed
from chaosgpu.lab.prepare import LabOptions
from chaosgpu.lab.processes import die_with_parent
from chaosgpu.lab.up import bring_up, take_down

__all__ = ["run_command", "run_in_lab"]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# A command that was told to stop undoes its faults first; after this long it is not waited for any more.
_STOP_S = 60.0
# si_code of a signal that the terminal sent: the command, in the same group, has it already.
_FROM_KERNEL = 128


def run_in_lab(options: LabOptions, command: list[str], say: Callable[[str], None]) -> int:
    """Bring a lab up, run a command in its environment, take the lab down whatever happens; the command's exit code."""
    reading, holding = os.pipe()
    try:
        plan = bring_up(options, say, tie=reading)
        os.close(reading)
        try:
            code = run_command(command, {**os.environ, **plan.exported})
        finally:
            take_down(options.directory)
            say("the lab is down")
    finally:
        os.close(holding)
    return code


def run_command(command: list[str], environment: dict[str, str], meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run the command in our own process group, so that it keeps the terminal; pass signals on; wait for its end.

    `meanwhile` is called twice a second.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, signal.SIGCHLD})
    tie = die_with_parent(signal.SIGTERM, os.getpid())

    def prepare() -> None:
        tie()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    try:
        child = subprocess.Popen(command, env=environment, preexec_fn=prepare)  # noqa: PLW1509 (one thread here)
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        raise LabFailed(f"{command[0]} could not be started: {error.strerror}.") from error
    try:
        return _wait(child, meanwhile)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _wait(child: "subprocess.Popen[bytes]", meanwhile: Callable[[], None]) -> int:
    left: float | None = None
    while child.poll() is None:
        received = signal.sigtimedwait({*_ENDING, signal.SIGCHLD}, 0.5)
        if received is not None and received.si_signo != signal.SIGCHLD:
            if received.si_code != _FROM_KERNEL:
                child.send_signal(received.si_signo)
            left = _STOP_S
        elif left is not None:
            left -= 0.5
            if left <= 0:
                child.kill()
        meanwhile()
    # A shell's own convention for a command that a signal ended.
    return child.returncode if child.returncode >= 0 else 128 - child.returncode
