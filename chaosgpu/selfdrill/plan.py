# SPDX-License-Identifier: Apache-2.0
"""Which points there are: every call that changes something, in every process that a phase has, found by tracing."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chaosgpu.selfdrill import strace
from chaosgpu.selfdrill.host import World
from chaosgpu.selfdrill.points import KEEPER, PHASES, Point, trace
from chaosgpu.selfdrill.strace import Call

# A keeper that waits and a child that becomes another program are enumerated under the role that follows.
_UNTIL = {"keep": strace.PAUSES}
_AT_EXEC = ("execve",)
# A holder does the same again and again until its lease is over; how often depends on how busy the machine is.
LOOPS = {"hold": 40}
DIES = ("process", "group", "all")


@dataclass(frozen=True)
class Segment:
    """What one process of one phase does, from its marker on."""

    phase: str
    role: str
    calls: tuple[Call, ...]

    def to_json(self) -> dict[str, object]:
        """Return it in short: of each call what finds it again."""
        return {"phase": self.phase, "role": self.role, "calls": [call.in_short() for call in self.calls]}

    @classmethod
    def from_json(cls, found: Any) -> "Segment":
        """Read it back."""
        return cls(found["phase"], found["role"], tuple(Call(*entry) for entry in found["calls"]))

    def points(self, fault: str) -> Iterator[Point]:
        """Return its points: the agent's own process alone, with its group, and with everything of ours."""
        for dies in DIES if self.role == "agent" else DIES[:1]:
            for call in self.calls:
                yield Point(fault, self.phase, self.role, dies, call)


def segments(world: World, phases: Sequence[str] = PHASES, roles: Sequence[str] = ()) -> list[Segment]:
    """Trace the phases unharmed; with `roles` only those processes of them."""
    return [segment for phase in phases for segment in _of_phase(world, phase, frozenset(roles))]


def _of_phase(world: World, phase: str, roles: frozenset[str]) -> Iterator[Segment]:
    """Trace the processes that are known, then those that they forked, until none forks any more."""
    wanted = [role for role in first_roles(phase) if _leads_to(roles, role)]
    while wanted:
        traced = trace(world, phase, wanted)
        wanted = [name for role in traced for name in forked_by(role, traced[role]) if _leads_to(roles, name)]
        for role, calls in traced.items():
            kept = strace.changing(own_calls(role, calls))[: LOOPS.get(role)]
            if kept and (not roles or role in roles):
                yield Segment(phase, role, tuple(kept))


def first_roles(phase: str) -> tuple[str, ...]:
    """Return the processes of a phase that are there without having been forked by one of them."""
    if phase == KEEPER:
        return "keep-revert", "keep.1"
    return ("agent", "keep", "hold") if phase == "apply" else ("agent",)


def forked_by(role: str, calls: Sequence[Call]) -> list[str]:
    """Return the roles of those that the verb, or a child of it, forked while it was our program."""
    names = [call.name for call in calls]
    own = calls[: names.index("execve")] if "execve" in names else calls
    return [f"{role}.{number + 1}" for number in range(strace.forks(list(own)))] if role.startswith("agent") else []


def own_calls(role: str, calls: Sequence[Call]) -> list[Call]:
    """Return those that have no other role."""
    names = [call.name for call in calls]
    ends = [names.index(name) + 1 for name in _UNTIL.get(role, _AT_EXEC) if name in names]
    return list(calls[: min(ends, default=len(calls))])


def _leads_to(roles: frozenset[str], role: str) -> bool:
    """Tell whether a process is wanted, or one that it forks."""
    return not roles or any(name == role or name.startswith(role + ".") for name in roles)


def spread(points: Sequence[Point], count: int, seed: int) -> list[Point]:
    """Choose some points by a seeded draw, in turn from every segment and every way to die."""
    draw = random.Random(seed)  # noqa: S311 (seeded on purpose)
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.phase, point.role, point.dies), []).append(point)
    for group in groups.values():
        draw.shuffle(group)
    chosen: list[Point] = []
    in_turn = list(groups.values())
    draw.shuffle(in_turn)  # else a short draw would be of the first phase alone
    while len(chosen) < count and any(in_turn):
        for group in in_turn:
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen
