# SPDX-License-Identifier: Apache-2.0
"""When a plan's window is open. Pure functions over the plan and a clock that is passed in.

A local time that a clock change skips or repeats says nothing sure, so an opening that meets one is refused.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chaosgpu.drill.plan import Timing, Window
from chaosgpu.errors import BadArgument, Refused

__all__ = ["Opening", "check_window", "local", "open_now", "openings", "zone_of"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Opening:
    """One time in which the window is open, in UTC; `day` is the local date on which it opens."""

    day: dt.date
    opens: dt.datetime
    closes: dt.datetime


def zone_of(window: Window) -> ZoneInfo:
    """Return the time zone; BadArgument where this machine does not know it."""
    try:
        return ZoneInfo(window.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadArgument(
            f"The window's time_zone {window.time_zone!r} is not known here: write a name such as Europe/Zurich or "
            "UTC, and install tzdata where that one is right."
        ) from error


def check_window(timing: Timing, now: dt.datetime) -> None:
    """Refuse a window that never opens, opens no more, is too short for the drill, or meets a clock change."""
    window = timing.window
    every = list(openings(window))
    span = f"from {window.first} to {window.last}"
    if not every:
        raise BadArgument(
            f"The window never opens: {span} no {' or '.join(window.days)} is left outside of the blackouts. Choose "
            "other days."
        )
    if every[-1].closes <= now:
        raise BadArgument(
            f"The window never opens again: it closed for the last time at {local(every[-1].closes, window)}. Choose a "
            "later last day and have the plan approved anew."
        )
    longest = dt.timedelta(seconds=timing.longest_s)
    if every[0].closes - every[0].opens < longest:
        raise BadArgument(
            f"The window is open for {_minutes(every[0].closes - every[0].opens)} minutes, and the drill with its undo "
            f"may take {_minutes(longest)}: it would never start. Open it longer, or plan fewer experiments."
        )


def openings(window: Window) -> Iterator[Opening]:
    """Yield each opening in order; BadArgument at the first that meets a clock change."""
    zone = zone_of(window)
    opens, closes = dt.time.fromisoformat(window.opens), dt.time.fromisoformat(window.closes)
    over_midnight = dt.timedelta(days=closes < opens)
    for number in range((window.last - window.first).days + 1):
        day = window.first + dt.timedelta(days=number)
        if _DAYS[day.weekday()] not in window.days:
            continue
        begins, ends = dt.datetime.combine(day, opens), dt.datetime.combine(day, closes) + over_midnight
        if any(one.begins < ends and begins < one.ends_before for one in window.blackouts):
            continue
        _check_clock(begins, ends, zone, window)
        yield Opening(day, _utc(begins, zone), _utc(ends, zone))


def open_now(timing: Timing, now: dt.datetime) -> Opening:
    """Return the opening that has room for the whole drill; Refused where there is none."""
    coming: Opening | None = None
    for one in openings(timing.window):
        if one.opens <= now < one.closes:
            left = one.closes - now
            if left < dt.timedelta(seconds=timing.longest_s):
                raise Refused(
                    f"The window closes at {local(one.closes, timing.window)}, in {_minutes(left)} minutes, and the "
                    f"drill with its undo may take {_minutes(dt.timedelta(seconds=timing.longest_s))}: nothing was "
                    "started."
                )
            return one
        if one.opens > now:
            coming = one
            break
    when = "never again" if coming is None else f"next at {local(coming.opens, timing.window)}"
    raise Refused(f"It is {local(now, timing.window)}, outside of the window, which opens {when}: nothing was started.")


def local(moment: dt.datetime, window: Window) -> str:
    """Write a moment as a person at the place would."""
    return f"{moment.astimezone(zone_of(window)):%a %Y-%m-%d %H:%M %Z}"


def _check_clock(begins: dt.datetime, ends: dt.datetime, zone: ZoneInfo, window: Window) -> None:
    """Refuse local times that do not exist, exist twice, or between which the clock is changed."""
    for name, moment in (("opens", begins), ("closes", ends)):
        early, late = moment.replace(tzinfo=zone), moment.replace(tzinfo=zone, fold=1)
        if early.utcoffset() == late.utcoffset():
            continue
        skipped = _utc(moment, zone).astimezone(zone).replace(tzinfo=None) != moment
        how = "does not exist: the clock skips it" if skipped else "exists twice: the clock is put back"
        raise BadArgument(
            f"The window falls into a clock change: it {name} at {moment:%Y-%m-%d %H:%M}, which {how} in "
            f"{window.time_zone} that day. {_ADVICE}"
        )
    before, after = (moment.replace(tzinfo=zone).utcoffset() for moment in (begins, ends))
    if before != after:
        raise BadArgument(
            f"The window falls into a clock change: between {begins:%Y-%m-%d %H:%M} and {ends:%H:%M} the clock of "
            f"{window.time_zone} goes from UTC{_offset(before)} to UTC{_offset(after)}. {_ADVICE}"
        )


_ADVICE = "Choose other hours or days, or take that date out with a blackout."


def _utc(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    return moment.replace(tzinfo=zone).astimezone(dt.UTC)


def _offset(offset: dt.timedelta | None) -> str:
    minutes = 0 if offset is None else round(offset.total_seconds() / 60)
    return f"{'+' if minutes >= 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _minutes(span: dt.timedelta) -> str:
    return f"{span.total_seconds() / 60:g}" if span.total_seconds() % 6 == 0 else f"{span.total_seconds() / 60:.1f}"
