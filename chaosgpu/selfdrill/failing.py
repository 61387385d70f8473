# SPDX-License-Identifier: Apache-2.0
"""Calls that fail instead of a process that dies: a full or broken disk, no descriptor, memory or process left.

What is told must be true at any time, and what is left nothing, as after a kill. The host acts as it would: the
keeper, and a sweep where none lives or where it has not come to an end two seconds after the deadline.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chaosgpu.selfdrill import oracle, plan, strace
from chaosgpu.selfdrill.entry import KEEPERS
from chaosgpu.selfdrill.host import World, kill
from chaosgpu.selfdrill.points import (
    BY_ITSELF,
    KEEPER,
    VERBS,
    NotReadyError,
    Outcome,
    Point,
    acts,
    came_to,
    deadline_s,
    goes_on,
    host_acts,
    let_end,
    now_s,
    pause,
    prepare,
    trace,
)
from chaosgpu.selfdrill.strace import Call

PHASES = ("apply", "renew", "undo", KEEPER, "sweep")
ON = "+"  # from this call on, not this one alone
_DISK = ("ENOSPC", "EIO")
ERRORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("open", "openat"), ("ENOSPC", "EIO", "EMFILE")),
    **dict.fromkeys(
        ("write", "pwrite64", "fsync", "rename", "link", "mkdir", "fallocate", "ftruncate"), _DISK
    ),
    **dict.fromkeys(("read", "unlink", "msync"), ("EIO",)),
    **dict.fromkeys(("pipe", "pipe2", "dup", "dup2", "dup3"), ("EMFILE",)),
    **dict.fromkeys(("fork", "vfork", "clone", "clone3"), ("EAGAIN", "ENOMEM")),
    **dict.fromkeys(("execve", "mmap", "flock"), ("ENOMEM",)),
}  # fmt: skip
# How many processes the machine has, and how busy it is, decides how often.
_UNSTEADY = re.compile(r"/proc/\d+/|EAGAIN")
_PATIENCE_S = 2.0
_ENDS_WITHIN_S = 60.0


def is_failure(point: Point) -> bool:
    """Tell whether a call fails at this point; at the others a process dies."""
    return point.dies not in plan.DIES


def planned(world: World, count: int, phases: Sequence[str] = PHASES, seed: int = 5) -> list[Point]:
    """Trace the phases unharmed and draw as many points as asked for, in turn from every process and error."""
    found = [
        Point(world.fault, phase, role, error + on, call)
        for phase in phases
        for role, calls in _processes(world, phase).items()
        for call in plan.own_calls(role, calls)[: plan.LOOPS.get(role)]
        if not _UNSTEADY.search(call.text)
        for error in ERRORS.get(call.name, ())
        for on in ("", ON)
    ]
    return plan.spread(found, count, seed)


def _processes(world: World, phase: str) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    wanted = list(plan.first_roles(phase))
    while wanted:
        traced = trace(world, phase, wanted, lambda out: strace.watching(out, (*ERRORS, *strace.PAUSES)))
        found |= traced
        forked = [name for role, calls in traced.items() for name in plan.forked_by(role, calls)]
        wanted = [name for name in forked if name not in found]
    return found


def strike(world: World, point: Point) -> Outcome:
    """Have the call fail, see what is told, let the host act, and see what is left."""
    out = world.folder / "trace"
    try:
        request = prepare(world, point.phase)
    except NotReadyError:
        host_acts(world)
        return Outcome(hit=False)
    error, lasting = point.dies.rstrip(ON), point.dies.endswith(ON)
    world.plan(point.role, strace.failing(out, point.call, error, lasting=lasting), out)
    if point.phase in BY_ITSELF:
        let_end(world, point.phase, request)
        lies: list[str] = []
    else:
        child = world.start(VERBS[point.phase], request)
        lies = untrue(world, child.communicate(timeout=_ENDS_WITHIN_S)[0])
    in_force, armed = world.changed(), came_to(world, "armed")
    outcome = _host_mends(world, keeper_is_ill=point.role.startswith(KEEPERS))
    found = strace.failed(out, point.call)
    return replace(
        outcome, hit=found is not None, at="" if found is None else found.text[:160], in_force=in_force, armed=armed,
        residue=[*lies, *outcome.residue],
    )  # fmt: skip


def untrue(world: World, told: bytes) -> list[str]:
    """Name what was told and is not so: `active` for what never was, `clean` for what is in force."""
    try:
        answer: Any = json.loads(told)
    except ValueError:
        answer = {}  # a call of the answer itself failed
    lies = []
    if answer.get("state") == "active" and not came_to(world, "active"):
        lies.append("told: active, and the record never said so")
    ended = [line for line in answer.get("leases", []) if line.get("state") == "clean"]
    if ended and world.changed():
        lies.append("told: clean, and the fault is in force")
    state = oracle.record(world.lease_folder)
    if state is not None and state["state"] == "clean" and world.changed():
        lies.append("the record says clean, and the fault is in force")
    return lies


def _host_mends(world: World, *, keeper_is_ill: bool) -> Outcome:
    """Wait for the host; a keeper all of whose calls fail may live on, and is ended at last."""
    swept, struck_s = False, now_s()
    look = _without_keeper(world) if keeper_is_ill else world.residue
    while True:
        end_s = deadline_s(world) or struck_s
        alone = not acts(world)
        if not goes_on(world) and not look():
            late_s = round(max(0.0, now_s() - end_s), 3)
            outcome = Outcome(hit=False, litter=world.litter(), late_s=late_s, swept=swept)
            break
        if now_s() > end_s + world.times.bound_s:
            outcome = Outcome(hit=False, residue=look(), litter=world.litter(), swept=swept)
            break
        if not swept and (alone or now_s() > end_s + _PATIENCE_S):
            world.ask("sweep", {"protocol": 1})
            swept = True
        pause()
    for pid in world.pids(*KEEPERS):
        kill(pid)
    return outcome


def _without_keeper(world: World) -> Callable[[], list[str]]:
    """Look at what is left but the ill keeper, and what it has just started and will start again: its questions."""

    def look() -> list[str]:
        keepers = world.pids(*KEEPERS)
        alive = (f"process {pid}:" for pid in keepers)
        of_keepers = (*alive, f"lock {world.lease_folder / 'keeper.lock'}", *world.units_of_keepers())
        left = [line for line in world.residue() if not line.startswith(of_keepers)]
        return [line for line in left if not is_question(line, keepers)]

    return look


def is_question(line: str, keepers: Sequence[int]) -> bool:
    """Tell whether it is a process that a keeper has started, or one that has ended meanwhile."""
    found = re.match(r"process (\d+):", line)
    return found is not None and oracle.parent_of(int(found[1])) in (None, *keepers)
