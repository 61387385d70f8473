# SPDX-License-Identifier: Apache-2.0
"""Which points there are: every call that changes something, in every process that a phase has, found by tracing."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chaosgpu.selfdrill import strace
from chaosgpu.selfdrill.host import World
from chaosgpu.selfdrill.points import BY_ITSELF, PHASES, Point, trace
from chaosgpu.selfdrill.strace import Call

# A keeper that waits and a child that becomes another program are enumerated under the role that follows.
_UNTIL = {"keep": strace.PAUSES}
_AT_EXEC = re.compile(r'"[^"]*/(?!systemctl"|systemd-run"|journalctl")[^/"]*"')  # what systemd is asked by is not ours
# A holder does the same again and again until its lease is over; how often depends on how busy the machine is.
LOOPS = {"hold": 40}
_ASKS = re.compile(r'"show"|"list-jobs"|/journalctl"')
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
    known: set[str] = set()
    while wanted:
        traced = trace(world, phase, wanted)
        known |= {*traced}
        forked = [name for role in traced for name in forked_by(role, traced[role]) if _leads_to(roles, name)]
        wanted = [name for name in forked if name not in known]
        for role, calls in traced.items():
            kept = _of_interest(strace.changing(own_calls(role, calls)))[: LOOPS.get(role)]
            if kept and (not roles or role in roles):
                yield Segment(phase, role, tuple(kept))


def first_roles(phase: str) -> tuple[str, ...]:
    """Return the processes of a phase that are there without having been forked by one of them."""
    if phase in BY_ITSELF:
        return f"{BY_ITSELF[phase]}-revert", f"{BY_ITSELF[phase]}.1"
    return ("agent", "keep", "hold") if phase == "apply" else ("agent",)


def forked_by(role: str, calls: Sequence[Call]) -> list[str]:
    """Return the roles of those that the verb, a child of it, or a keeper's undo forked while it was our program."""
    names = [call.name for call in calls]
    own = calls[: names.index("execve")] if "execve" in names else calls
    family = role.removesuffix("-revert")
    if family == role and not role.startswith("agent"):
        return []
    return [f"{family}.{number + 1}" for number in range(strace.forks(list(own)))]


def steady(first: Sequence[Segment], second: Sequence[Segment]) -> list[Segment]:
    """Return what two tracings have alike: where a wait decides how often something is asked, the rest is chance.

    A child is known by its number alone, so it counts only where both made the same calls.
    """
    other = {(segment.phase, segment.role): segment.calls for segment in second}
    kept = []
    for segment in first:
        seen = {(call.kind, call.turn) for call in other.get((segment.phase, segment.role), ())}
        calls = tuple(call for call in segment.calls if (call.kind, call.turn) in seen)
        if calls and ("." not in segment.role or len(calls) == len(segment.calls) == len(seen)):
            kept.append(replace(segment, calls=calls))
    return kept


def own_calls(role: str, calls: Sequence[Call]) -> list[Call]:
    """Return those that have no other role."""
    ends = (number + 1 for number, call in enumerate(calls) if _ends(role, call))
    return list(calls[: next(ends, len(calls))])


def _of_interest(calls: Sequence[Call]) -> Sequence[Call]:
    """Leave out what a question to systemd does between its start and its end: it changes nothing."""
    asks = any(call.name == "execve" and _ASKS.search(call.text) for call in calls)
    return [call for call in calls if call.name in ("execve", "exit_group")] if asks else calls


def _ends(role: str, call: Call) -> bool:
    if role in _UNTIL:
        return call.name in _UNTIL[role]
    return call.name == "execve" and _AT_EXEC.match(call.text) is not None


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
