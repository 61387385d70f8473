# SPDX-License-Identifier: Apache-2.0
"""A simulated week of scheduled drills: the clock is passed in, and what befalls each start is drawn from a seed."""

import contextlib
import datetime as dt
import os
import random
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosgpu.drill.course import run_drill
from chaosgpu.drill.occurrences import occurrences
from chaosgpu.drill.plan import Plan
from chaosgpu.drill.planfile import Written
from chaosgpu.drill.settle import end_dead_drills, record_missed
from chaosgpu.errors import ChaosGpuError

if TYPE_CHECKING:
    from support.drills import World

__all__ = ["KINDS", "Week", "play_week"]

KINDS = ("ran", "refused", "missed", "died")


@dataclass
class Week:
    """What was due, and what befell it."""

    plan: Plan
    what: dict[str, str] = field(default_factory=dict)


def play_week(world: "World", seed: int, days: int = 7) -> Week:
    """Play a start a day, and in between what a machine does when it comes up; each kind comes at least once."""
    draw = random.Random(seed)  # noqa: S311 (a simulation)
    hours = {"opens": "09:00", "closes": "12:00"}
    window = {"time_zone": "Europe/Zurich", "first": "2026-11-30", "last": "2027-02-28", **hours}
    written = world.plan("bob@lab", drill="weekly", name="weekly.yaml", window=window, schedule={"at": "09:30"})
    world.record.planned(written, schedule=written.plan.timing.as_json())
    week, begin = Week(written.plan), world.clock()
    kinds = [*KINDS, *(draw.choice(KINDS) for _ in range(days - len(KINDS)))]
    draw.shuffle(kinds)
    for one, kind in zip(occurrences(written.plan.timing), kinds, strict=False):
        week.what[one.name] = kind
        world.clock.now = one.at + dt.timedelta(seconds=draw.randint(0, 600))
        if kind == "missed":
            world.clock.move(hours=1)  # the machine comes up too late
        else:
            _start(world, written, kind)
            world.clock.move(hours=1)
        end_dead_drills(world.site.path(world.site.drills), world.record, lambda *_: None)
        record_missed(world.record, world.clock(), world.clock() - dt.timedelta(minutes=1))
    world.clock.now = begin + dt.timedelta(days=days)
    return week


def _start(world: "World", written: Written, kind: str) -> None:
    """Start the drill as its timer does."""
    if kind == "died":
        if (child := os.fork()) == 0:
            world.player.during = lambda: os.kill(os.getpid(), signal.SIGKILL)
            run_drill(written, world.means(), scheduled=True)
            os._exit(1)
        os.waitpid(child, 0)
        world.tokens += 10  # names that the child has used
        return
    with contextlib.suppress(ChaosGpuError):
        run_drill(written, world.means(operator="bob" if kind == "refused" else "alice"), scheduled=True)
