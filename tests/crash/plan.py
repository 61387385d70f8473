# SPDX-License-Identifier: Apache-2.0
"""Which points there are: every call that changes something, in every process that a phase has, found by tracing."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crash import strace
from crash.points import KEEPER, PHASES, Point, trace
from crash.strace import Call
from crash.world import World

# A keeper that waits and a child that becomes another program are enumerated under the role that follows.
_UNTIL = {"keep": strace.PAUSES}
_AT_EXEC = ("execve",)
# A holder does the same again and again until its lease is over; how often depends on how busy the machine is.
_MOST_OF_A_LOOP = 40
DIES = ("process", "group", "all")


@dataclass(frozen=True)
class Segment:
    """What one process of one phase does, from its marker on."""

    phase: str
    role: str
    calls: tuple[Call, ...]

    def points(self, fault: str) -> Iterator[Point]:
        """Return its points: the agent's own process alone, with its group, and with everything of ours."""
        for dies in DIES if self.role == "agent" else DIES[:1]:
            for call in self.calls:
                yield Point(fault, self.phase, self.role, dies, call)


def segments(world: World, phases: Sequence[str] = PHASES, roles: Sequence[str] = ()) -> list[Segment]:
    """Trace the phases unharmed; with `roles` only those processes of them."""
    found = []
    for phase in phases:
        wanted = ["keep-revert", "keep.1"] if phase == KEEPER else ["agent"]
        if phase == "apply":
            wanted += ["keep", "hold"]
        while wanted:
            role = wanted.pop(0)
            if (
                roles
                and role not in roles
                and not (role == "agent" and any(name.startswith("agent.") for name in roles))
            ):
                continue
            calls = trace(world, phase, role)
            if role.startswith("agent"):
                wanted += [f"{role}.{number + 1}" for number in range(strace.forks(_before_exec(calls)))]
            kept = strace.changing(calls, until=_UNTIL.get(role, _AT_EXEC))
            if role == "hold":
                kept = kept[:_MOST_OF_A_LOOP]
            if kept and (not roles or role in roles):
                found.append(Segment(phase, role, tuple(kept)))
    return found


def _before_exec(calls: Sequence[Call]) -> list[Call]:
    names = [call.name for call in calls]
    return list(calls[: names.index("execve")] if "execve" in names else calls)


def spread(points: Sequence[Point], count: int, seed: int) -> list[Point]:
    """Choose some points by a seeded draw, in turn from every segment and every way to die."""
    draw = random.Random(seed)
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.phase, point.role, point.dies), []).append(point)
    for group in groups.values():
        draw.shuffle(group)
    chosen: list[Point] = []
    while len(chosen) < count and any(groups.values()):
        for group in groups.values():
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen
