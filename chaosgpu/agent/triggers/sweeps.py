# SPDX-License-Identifier: Apache-2.0
"""Whether a sweep came meanwhile: it ends a lease, and brings back what was taken away from one."""

import time
from typing import Optional, Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.units import SWEEP

__all__ = ["SWEEP_EVERY_S", "Sweeps", "sweeps_of"]

SWEEP_EVERY_S = 30.0
_SERVICE = f"{SWEEP.rpartition('.')[0]}.service"
_LATE_S = 5.0
_MINUTE_S = 60.0
_LOOK_EVERY_S = 0.2
# Cron's sweep of the minute that has begun has ended then.
_SWEPT_S = 8.0


class Sweeps:
    """Those of systemd's timer: each start of the service is stamped."""

    def __init__(self, systemd: Systemd, clock: Clock) -> None:
        self._systemd, self._clock = systemd, clock

    def await_quiet(self, lasts_s: float) -> None:
        """Wait for the next sweep and its end, if it is due within so many seconds."""
        begun_s, _ = self._last()
        due_s = begun_s + SWEEP_EVERY_S
        if not due_s - lasts_s <= time.monotonic() <= due_s + _LATE_S:
            return  # far off, or not installed
        while time.monotonic() <= due_s + _LATE_S and (self._last()[0] == begun_s or self._last()[1]):
            self._clock.sleep(_LOOK_EVERY_S)

    def mark(self) -> str:
        """Return what is another as soon as a sweep has come."""
        return str(self._last())

    def _last(self) -> Tuple[float, bool]:
        """Return when the last one began, and whether it still goes on."""
        shown = self._systemd.ask("show", "--property=ActiveState,ExecMainStartTimestampMonotonic", _SERVICE)
        found = dict(line.partition("=")[::2] for line in shown.splitlines())
        begun_us = found.get("ExecMainStartTimestampMonotonic", "")
        return (int(begun_us) / 1e6 if begun_us.isdigit() else 0.0), found.get("ActiveState") == "activating"


class _CronSweeps(Sweeps):
    """Those of cron: at each minute's begin, and nobody says whether one came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def await_quiet(self, lasts_s: float) -> None:
        """Wait for the part of a minute in which cron starts nothing."""
        while not _SWEPT_S <= self._clock.wall_s() % _MINUTE_S <= _MINUTE_S - lasts_s:
            self._clock.sleep(_LOOK_EVERY_S)

    def mark(self) -> str:
        return str(int(self._clock.wall_s() // _MINUTE_S))


def sweeps_of(systemd: Optional[Systemd], clock: Clock) -> Sweeps:
    """Return how this host's sweeps are noticed."""
    return _CronSweeps(clock) if systemd is None else Sweeps(systemd, clock)
