# SPDX-License-Identifier: Apache-2.0
"""Strike one point: set up, kill there, let only the host act, and see what is left."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaosgpu.agent.values import JsonObject
from chaosgpu.selfdrill import oracle, strace
from chaosgpu.selfdrill.entry import KEEPERS
from chaosgpu.selfdrill.host import World, kill
from chaosgpu.selfdrill.strace import Call

_ENDS_WITHIN_S = 60.0
_STEP_S = 0.04
_TRIES = 4
_OVER_SOON_S = 0.1
_TIMER_COMES_S = 1.0  # it starts the reverter a second before the deadline
# Phase -> the verb that is struck; the keeper's own revert has none.
VERBS = {
    "apply": "apply", "renew": "renew", "undo": "undo", "undo alone": "undo", "verify": "list", "sweep": "sweep",
    "tend": "tend", "halt": "halt", "boot": "tend",
}  # fmt: skip
KEEPER = "keeper"
TIMER = "timer"  # only where systemd is
PHASES = (*VERBS, KEEPER)
BY_ITSELF = {KEEPER: "keep", TIMER: "due"}  # who ends the lease then
AFTER = ("sweep", "tend")  # the lease is over; a timer, a boot unit or cron starts `tend`
BOOT = "boot"  # the host was started anew: what lived has died, and the boot unit starts `tend`
ALONE = ("undo alone", *AFTER, BOOT)  # the keeper was killed before


@dataclass(frozen=True)
class Point:
    """Where to kill: in which phase of which fault, in which process, at which call, and who dies with it."""

    fault: str
    phase: str
    role: str
    dies: str  # "process": it alone; "group": its process group too; "all": everything of ours on the host
    call: Call

    @property
    def name(self) -> str:
        """Its name among the points of its fault; the call by its name and its number since the marker."""
        return f"{self.phase}/{self.role}/{self.dies}/{self.call.name}#{self.call.number}"

    @property
    def key(self) -> str:
        """Its name among all points."""
        return f"{self.fault}/{self.name}"


@dataclass(frozen=True)
class Second:
    """Where to kill the one who puts back: the keeper in its revert, or the sweep where there is no keeper."""

    by_keeper: Call
    by_sweep: Call


@dataclass(frozen=True)
class Outcome:
    """What was found: whether the kill hit, at what, what was left in the end, and how late after the deadline."""

    hit: bool
    at: str = ""
    residue: list[str] = field(default_factory=list)
    litter: list[str] = field(default_factory=list)
    late_s: float = 0.0
    swept: bool = False
    in_force: bool = False  # the fault was there at the moment of the kill: else the point proves little
    armed: bool = False  # the lease had come to "armed" by then: before it is `arm`, after it `inject`


def stage(point: Point, outcome: Outcome) -> str:
    """Return the phase of a fault's life that a point lies in: an apply arms until it is armed, and then injects."""
    if point.phase == "apply":
        return "inject" if outcome.armed else "arm"
    return point.phase if point.phase in ("renew", "verify", BOOT) else "revert"


class NotReadyError(Exception):
    """The host did not come to where the phase begins: too busy for a lease this short."""


def prepare(world: World, phase: str) -> JsonObject:
    """Bring the host to where the phase begins; return what its verb is asked."""
    world.renew()
    if phase == "apply" or phase in BY_ITSELF:
        return world.order()
    answer = world.ask("apply", world.order(outlasts=True))
    if answer.get("state") != "active":
        raise NotReadyError(f"The host did not take {world.fault} before {phase}: {answer}")
    if phase in ALONE:
        world.lose_keepers(*(("hold",) if phase == BOOT else ()))
    if phase == BOOT:
        world.forget_boot()  # its deadline is far away: only the boot says that it is over
        return {"protocol": 1}
    # It was long enough to become active on a busy machine; from here on it is as short as a lease can sensibly be.
    then_s = world.times.then_s
    ttl_s = _OVER_SOON_S if phase in AFTER else then_s
    world.ask("renew", {"protocol": 1, "leases": [world.lease], "ttl_s": ttl_s})
    if phase in AFTER:
        time.sleep(max(0.0, deadline_s(world) - now_s()))
    asked: dict[str, JsonObject] = {
        "renew": {"leases": [world.lease], "ttl_s": then_s},
        "undo": {"lease": world.lease},
        "undo alone": {"lease": world.lease},
        "verify": {"run": "r1", "verify": True},
        "sweep": {},
        "tend": {},
        "halt": {"by": "ann", "reason": "pager"},
    }
    return {"protocol": 1, **asked[phase]}


def _prepare_at_last(world: World, phase: str) -> JsonObject:
    for _ in range(_TRIES):
        try:
            return prepare(world, phase)
        except NotReadyError:
            host_acts(world)
    return prepare(world, phase)


def trace(
    world: World, phase: str, roles: Sequence[str], command: Callable[[Path], list[str]] = strace.counting
) -> dict[str, list[Call]]:
    """Go through the phase unharmed and return every call that each of these processes made after its marker."""
    out = {role: world.folder / f"trace-{role}" for role in roles}
    for _ in range(_TRIES):
        request = _prepare_at_last(world, phase)
        for role in roles:
            world.plan(role, command(out[role]), out[role])
        _go(world, phase, request)
        came = _went_as_meant(world, phase)
        host_acts(world)
        if came:  # else the machine was too busy for a lease this short, and the keeper was first
            break
    return {role: strace.calls(path) if path.exists() else [] for role, path in out.items()}


def _went_as_meant(world: World, phase: str) -> bool:
    if phase == "apply":
        return came_to(world, "active")
    found = oracle.record(world.lease_folder) or {}
    return phase not in ("undo", "halt") or found.get("ended_by") == phase


def strike(world: World, point: Point, then: Second | None = None) -> Outcome:
    """Kill at the point, then let only the host act; with `then` kill also the one who puts it back."""
    first, second = world.folder / "trace", world.folder / "trace-second"
    try:
        request = prepare(world, point.phase)
    except NotReadyError:
        host_acts(world)
        return Outcome(hit=False)
    world.plan(point.role, strace.killing(first, point.call), first)
    if then is not None:
        world.plan("keep-revert", strace.killing(second, then.by_keeper), second)
    _go(world, point.phase, request, point.dies)
    if then is not None:
        world.leave_to("keep")  # or a sweep: these two have points of their own
    in_force, armed = world.changed(), came_to(world, "armed")
    found = strace.hit(first, point.call)
    both = found is not None and (then is None or _strike_again(world, then, second))
    at = "" if found is None else found.text[:160]
    return replace(host_acts(world), hit=both, at=at, in_force=in_force, armed=armed)


def _strike_again(world: World, then: Second, out: Path) -> bool:
    """Wait until the keeper was killed while it put back; where none does, have a sweep killed. Tell whether it hit."""
    gone = wait_until(lambda: not acts(world), _longest_s(world))
    if not gone or not deadline_s(world):
        return False
    if out.exists():
        return strace.hit(out, then.by_keeper) is not None
    world.unplan()
    world.plan("agent", strace.killing(out, then.by_sweep), out)
    world.start("sweep", {"protocol": 1}).communicate(timeout=_ENDS_WITHIN_S)
    return strace.hit(out, then.by_sweep) is not None


def _go(world: World, phase: str, request: JsonObject, dies: str = "process") -> None:
    if phase in BY_ITSELF:
        let_end(world, phase, request)
        wait_until(lambda: not world.pids(BY_ITSELF[phase]) and not world.waits(), _longest_s(world))
        return
    child = world.start(VERBS[phase], request)
    child.communicate(timeout=_ENDS_WITHIN_S)
    if dies == "group":
        _end_group(child.pid)
    elif dies == "all":
        for pid in world.pids(*KEEPERS, "hold", *VERBS.values()):
            kill(pid)


def let_end(world: World, phase: str, request: JsonObject) -> None:
    """Put the fault in and leave its end to the keeper alone, or to the timer alone."""
    world.ask("apply", request)
    world.leave_to(BY_ITSELF[phase])


def _end_group(leader: int) -> None:
    """Kill what is left of the struck process's group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def host_acts(world: World) -> Outcome:
    """Wait for the host: its keeper, its timer, and where there is none one sweep; say what is left."""
    swept, struck_s = False, now_s()
    while True:
        end_s = max(deadline_s(world), struck_s)  # where the deadline was over before, nobody is late before the kill
        alone = not acts(world)
        # A look at everything costs 20 ms, so not while the record says that it goes on.
        left = [] if goes_on(world) else world.residue()
        if not left and not goes_on(world):
            late_s = max(0.0, now_s() - end_s)
            return Outcome(hit=False, litter=world.litter(), late_s=round(late_s, 3), swept=swept)
        if now_s() > end_s + world.times.bound_s:
            return Outcome(hit=False, residue=world.residue(), litter=world.litter(), swept=swept)
        if alone and not swept:
            world.ask("sweep", {"protocol": 1})
            swept = True
        pause()


def acts(world: World) -> bool:
    """Tell whether anybody is at it, or a timer will be in time: one set for a longer lease comes after the sweep."""
    in_time = now_s() < deadline_s(world) + _TIMER_COMES_S
    return (in_time and world.waits()) or bool(world.pids(*KEEPERS, *VERBS.values()))


def _longest_s(world: World) -> float:
    return world.times.outlasts_s + world.times.bound_s


def came_to(world: World, state: str) -> bool:
    """Tell whether the lease has ever been in this state."""
    found = oracle.record(world.lease_folder)
    return found is not None and any(entry.get("state") == state for entry in found.get("history", ()))


def goes_on(world: World) -> bool:
    """Tell whether the lease's record says that it is open."""
    found = oracle.record(world.lease_folder)
    return found is not None and found["state"] not in ("clean", "tombstone")


def deadline_s(world: World) -> float:
    """Return the deadline in the lease's record; 0 where there is none, or none of this boot."""
    found = oracle.record(world.lease_folder)
    return (
        0.0
        if found is None or found.get("boot") != world.boot
        else min(float(found.get("deadline_s", 0.0)), float(found.get("end_s", 0.0)))
    )


def now_s() -> float:
    """Return CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pause() -> None:
    """Let a moment pass between two looks."""
    time.sleep(_STEP_S)


def wait_until(true: Callable[[], bool], within_s: float) -> bool:
    """Wait until it is true, or the time is over."""
    end_s = time.monotonic() + within_s
    while not true() and time.monotonic() < end_s:
        pause()
    return true()
