# SPDX-License-Identifier: Apache-2.0
"""One planned point, or two crashes in a row, struck until it hits; the same here and inside a test host."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chaosgpu.selfdrill import failing, points, strace
from chaosgpu.selfdrill.host import World
from chaosgpu.selfdrill.points import Outcome, Point, Second

TRIES = 8  # a kill that misses, since a busy host took another turn, is planned again
PAIRS = 40  # after many a first kill nobody comes to the call of the second: every other pair hits


@dataclass(frozen=True)
class Job:
    """One planned point, or two crashes in a row drawn from the fault's points."""

    name: str
    point: Point | None
    draw: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it for another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Job":
        """Read it back."""
        point = found["point"]
        return cls(found["name"], None if point is None else point_from(point), found["draw"])


def point_from(found: Mapping[str, Any]) -> Point:
    """Read a point."""
    return Point(**{**found, "call": strace.Call(**found["call"])})


def until_hit(host: World, job: Job, known: Sequence[Point]) -> tuple[int, Outcome]:
    """Strike it; one that misses is planned again as its trace numbers it. Return the tries, and what came of it."""
    draw = random.Random(job.draw)
    outcome, point = Outcome(hit=False), job.point
    tries = PAIRS if point is None else TRIES
    for number in range(1, tries + 1):
        if point is None:
            first, second = _pair(draw, known)
            outcome = points.strike(host, first, second)
        else:
            outcome = failing.strike(host, point) if failing.is_failure(point) else points.strike(host, point)
            point = replace(point, call=strace.again(host.folder / "trace", point.call))
        if outcome.hit or outcome.residue:
            return number, outcome
    return tries, outcome


def _pair(draw: random.Random, known: Sequence[Point]) -> tuple[Point, Second]:
    first = draw.choice([point for point in known if point.phase in ("apply", "undo", "renew", "halt")])
    by_keeper = draw.choice([point.call for point in known if point.role == "keep-revert"])
    by_sweep = draw.choice([point.call for point in known if (point.phase, point.role) == ("sweep", "agent")])
    return first, Second(by_keeper, by_sweep)
