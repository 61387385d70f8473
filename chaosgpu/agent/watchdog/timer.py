# SPDX-License-Identifier: Apache-2.0
"""A transient systemd timer a lease: PID 1 starts the reverter, whatever became of the session, keeper or agent."""

import os
from typing import Callable, Mapping, Sequence, Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import AgentError, Refused
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.systemd import Systemd

__all__ = ["Timer", "armed_units", "has_timer", "timer_words", "unit_of"]

_TRANSIENT = "/run/systemd/transient"
# Python and the faults are loaded when the deadline comes; starting early is safe, as the record decides.
LEAD_S = 1.0
# A timer may fire late by this much; systemd's own default is a minute.
_ACCURACY = "100ms"


class Timer:
    """Arms a lease with `chaosgpu-revert-LEASE.timer`, and reads back that it waits."""

    name = "timer"

    def __init__(self, systemd: Systemd, command: Tuple[str, ...], clock: Clock) -> None:
        self._systemd, self._command, self._clock = systemd, command, clock

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> Callable[[], None]:
        """Make the timer; what is returned reads it back."""
        state = folder.seen()
        left_s = 0.0 if state is None else min(state.deadline_s, state.end_s) - self._clock.boottime_s()
        try:
            self._systemd.start(*timer_words(folder.lease, left_s, environment, (*self._command, "due", folder.path)))
        except Refused as error:
            raise Refused(
                f"The timer that would undo this lease could not be set; nothing was touched. {error}"
            ) from error
        return lambda: self._see(folder)

    def armed(self, folder: LeaseFolder) -> bool:
        """Tell whether the timer waits or the reverter that it started runs."""
        units = [f"{unit_of(folder.lease)}.{kind}" for kind in ("timer", "service")]
        try:
            return armed_units(self._systemd.ask("show", "--property=Id,ActiveState,SubState", *units))
        except AgentError:
            return False  # not known is not armed

    def disarm(self, folder: LeaseFolder) -> None:
        """Stop the timer. The reverter is left alone: it may be the one who asks, and it goes when it sees the end."""
        if not has_timer(folder.lease):
            return
        try:
            self._systemd.ask("stop", f"{unit_of(folder.lease)}.timer")
        except AgentError:
            return  # it fires, sees that the lease has ended, and is gone

    def _see(self, folder: LeaseFolder) -> None:
        if not self.armed(folder):
            raise Refused(
                f"systemd does not show {unit_of(folder.lease)}.timer as waiting, so nobody would undo this lease; "
                "nothing was touched."
            )


def unit_of(lease: str) -> str:
    """Return the name of a lease's timer and service, without the ending."""
    return f"chaosgpu-revert-{lease}"


def has_timer(lease: str) -> bool:
    """Tell whether systemd has a timer of this lease, without asking it."""
    return os.path.exists(f"{_TRANSIENT}/{unit_of(lease)}.timer")  # noqa: PTH110 (pathlib costs 9 ms at start)


def timer_words(lease: str, left_s: float, environment: Mapping[str, str], command: Sequence[str]) -> Tuple[str, ...]:
    """Return what systemd-run is given to start the reverter shortly before the deadline.

    The service is `simple`: a `oneshot` cannot be restarted before systemd 244, and one that waits would hold a job.
    The whole unit name is given, since systemd-run reads an id that ends in `.timer` or `.service` otherwise.
    """
    return (
        f"--unit={unit_of(lease)}.timer",
        f"--description=Undo of chaosgpu lease {lease}",
        f"--on-active={max(0.0, left_s - LEAD_S):.3f}s",
        f"--timer-property=AccuracySec={_ACCURACY}",
        "--property=Type=simple",
        "--property=Restart=on-failure",
        "--property=RestartSec=2",
        "--property=StartLimitIntervalSec=0",  # it never gives up
        "--property=OOMScoreAdjust=-1000",
        "--property=KillMode=process",  # an undo may bring a service back by a command: that one stays
        *(f"--setenv={name}={text}" for name, text in environment.items()),
        "--",
        *(word.replace("$", "$$") for word in command),
    )


def armed_units(shown: str) -> bool:
    """Tell from `systemctl show` of timer and service whether one of them will still end the lease."""
    for block in shown.strip().split("\n\n"):
        unit = dict(line.partition("=")[::2] for line in block.splitlines())
        if unit.get("Id", "").endswith(".timer"):
            if unit.get("ActiveState") == "active" and unit.get("SubState") in ("waiting", "running"):
                return True
        elif unit.get("ActiveState") in ("active", "activating"):  # activating: waits to be started again
            return True
    return False
