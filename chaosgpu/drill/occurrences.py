# SPDX-License-Identifier: Apache-2.0
"""When a plan's schedule says that its drill starts. Pure functions."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from chaosgpu.drill.plan import Timing
from chaosgpu.drill.window import Opening, local, openings, zone_of
from chaosgpu.errors import BadArgument
from chaosgpu.lease.ids import stamp

__all__ = ["Occurrence", "check_schedule", "occurrence_at", "occurrences"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# A timer may be this late, a machine that has just started somewhat more; later it is a missed drill.
LATE_S = 900.0


@dataclass(frozen=True)
class Occurrence:
    """One start that the schedule asks for."""

    at: dt.datetime

    @property
    def name(self) -> str:
        """What the log calls it."""
        return stamp(self.at)


def check_schedule(timing: Timing) -> None:
    """Refuse a schedule that never starts the drill, or starts it where it does not fit into the window."""
    if timing.schedule is None:
        return
    every = list(occurrences(timing))
    if not every:
        raise BadArgument(
            "The schedule never starts the drill: the window opens on none of its days "
            f"({', '.join(timing.schedule.days or ())}). Choose days of the window."
        )


def occurrences(timing: Timing) -> Iterator[Occurrence]:
    """Yield each start in order; BadArgument at the first that the window has no room for."""
    if timing.schedule is None:
        return
    for opening in openings(timing.window):
        if timing.schedule.days is None or _DAYS[opening.day.weekday()] in timing.schedule.days:
            yield Occurrence(_start(timing, timing.schedule.at, opening))


def occurrence_at(timing: Timing, now: dt.datetime) -> Occurrence | None:
    """Return the start that is due now: one whose time came no longer ago than a timer may be late."""
    for one in occurrences(timing):
        if 0 <= (now - one.at).total_seconds() < LATE_S:
            return one
        if one.at > now:
            return None
    return None


def _start(timing: Timing, at: str, opening: Opening) -> dt.datetime:
    zone = zone_of(timing.window)
    start = dt.datetime.combine(opening.day, dt.time.fromisoformat(at), zone).astimezone(dt.UTC)
    if start < opening.opens:  # over midnight
        following = opening.day + dt.timedelta(days=1)
        start = dt.datetime.combine(following, dt.time.fromisoformat(at), zone).astimezone(dt.UTC)
    if start + dt.timedelta(seconds=timing.longest_s + LATE_S) > opening.closes:
        raise BadArgument(
            f"The schedule starts the drill at {at}, and the window of {opening.day} closes at "
            f"{local(opening.closes, timing.window)}: with its undo it may take {timing.longest_s / 60:g} minutes, and "
            f"the timer may be {LATE_S / 60:g} late. Start earlier, or open the window longer."
        )
    return start
