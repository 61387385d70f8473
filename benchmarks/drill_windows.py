# SPDX-License-Identifier: Apache-2.0
"""Windows of drills against a clock that is read minute by minute, in zones that change their clocks and others."""

import datetime as dt
import functools
import random
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from chaosgpu.drill.plan import Window
from chaosgpu.drill.window import openings
from chaosgpu.errors import BadArgument

__all__ = ["Compared", "compare"]

_ZONES = (
    "Europe/Zurich", "Europe/London", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "Asia/Kolkata",
    "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Chatham", "Africa/Casablanca", "Africa/Cairo", "UTC",
)  # fmt: skip
_NIGHT = (0, 1, 2, 3, 22, 23)


@dataclass
class Compared:
    """How many windows were compared, and how the two ways judged them."""

    windows: int = 0
    # Taken, though a local minute of it does not exist or exists twice.
    wrongly_taken: int = 0
    # Taken with other times than those of the clock.
    other_times: int = 0
    refused: int = 0
    # Refused, though all its minutes are there once: where the clock changes at the moment at which it closes.
    refused_in_doubt: int = 0


def compare(count: int, seed: int) -> Compared:
    """Draw windows of up to eight hours around clock changes."""
    draw, found = random.Random(seed), Compared()  # noqa: S311 (a simulation)
    for _ in range(count):
        zone = draw.choice(_ZONES)
        changes = _changes(zone) or [dt.date(2027, 6, 15)]
        day = draw.choice(changes) - dt.timedelta(days=draw.choice((0, 0, 1)))
        opens = dt.datetime.combine(day, dt.time(draw.choice((*_NIGHT, draw.randrange(24))), draw.choice((0, 30))))
        closes = opens + dt.timedelta(minutes=30 * draw.randint(1, 16))
        window = Window.model_validate(
            {
                "time_zone": zone,
                "first": str(day),
                "last": str(day),
                "opens": f"{opens:%H:%M}",
                "closes": f"{closes:%H:%M}",
            }
        )
        _take_up(found, window, _minutes(opens, closes, ZoneInfo(zone)))
    return found


@functools.cache
def _changes(zone: str) -> list[dt.date]:
    """Return the days of 2027 on which a zone changes its clocks."""
    days = [dt.date(2027, 1, 1) + dt.timedelta(days=number) for number in range(365)]
    offsets = [dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).utcoffset() for day in days]
    return [day for day, today, next_one in zip(days, offsets, offsets[1:], strict=False) if today != next_one]


def _take_up(found: Compared, window: Window, minutes: list[dt.datetime] | None) -> None:
    found.windows += 1
    try:
        [opening] = openings(window)
    except BadArgument:
        found.refused += 1
        found.refused_in_doubt += minutes is not None
        return
    if minutes is None:
        found.wrongly_taken += 1
    elif (opening.opens, opening.closes) != (minutes[0], minutes[-1] + dt.timedelta(minutes=1)):
        found.other_times += 1


def _minutes(opens: dt.datetime, closes: dt.datetime, zone: ZoneInfo) -> list[dt.datetime] | None:
    """Return the minutes in UTC at which the local clock is between the two; None if not each once and in a row."""
    begin = opens.replace(tzinfo=dt.UTC) - dt.timedelta(hours=16)
    seen = []
    for number in range(60 * 48):
        moment = begin + dt.timedelta(minutes=number)
        if opens <= moment.astimezone(zone).replace(tzinfo=None) < closes:
            seen.append(moment)
    wanted = int((closes - opens).total_seconds() / 60)
    whole = len(seen) == wanted and seen[-1] - seen[0] == dt.timedelta(minutes=wanted - 1)
    return seen if whole else None
