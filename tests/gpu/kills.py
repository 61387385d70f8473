# SPDX-License-Identifier: Apache-2.0
"""One kill at one moment of an apply or an undo on the card, and what is left of it by the deadline and 5 s."""

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from gpu.card import Card, until

__all__ = ["BOUND_S", "FAULTS", "KILLED", "PHASES", "Kill", "Lengths", "Outcome", "carry_out", "measure"]

BOUND_S = 5.0
SHORTEST_TTL_S = 1.0
PHASES = ("apply", "undo")
KILLED = ("agent", "its process group", "agent, keeper and holder")
FAULTS: dict[str, dict[str, object]] = {
    "gpu.memory.fill": {"used_percent": 80},
    "gpu.memory.leak": {"rate_mib_s": 4000},
    "gpu.burn": {"duty_percent": 100},
}
_ENDED = ("clean", "tombstone", "none")


@dataclass(frozen=True)
class Lengths:
    """How long the agent works on a fault when nobody disturbs it."""

    apply_s: float
    undo_s: float

    def ttl_s(self, phase: str) -> float:
        """Return a lease's time: short, but not over before the work on it is done."""
        return max(SHORTEST_TTL_S, self.apply_s + 0.4 + (self.undo_s if phase == "undo" else 0.0))


@dataclass(frozen=True)
class Kill:
    """What is killed, in which work on which fault, and after how much of its usual length."""

    lease: str
    phase: str
    fault: str
    killed: str
    share: float


@dataclass(frozen=True)
class Outcome:
    """What one kill met and what it left; times are seconds after the lease's deadline, None: not by its 5 s."""

    kill: Kill
    at_s: float
    hit: bool
    taken_mib: int
    state: str
    free_s: float | None
    ended_s: float | None
    by_itself: bool
    holders: int
    claims: int
    open: bool

    @property
    def residue(self) -> bool:
        """Tell whether anything is left."""
        return self.free_s is None or self.ended_s is None or bool(self.holders or self.claims or self.open)


def measure(card: Card, fault: str, times: int = 3) -> Lengths:
    """Put the fault in and take it out, undisturbed."""
    applies, undoes = [], []
    for number in range(times):
        lease = f"{fault}-whole-{number}"
        start = time.monotonic()
        answer = card.apply(fault, lease, 10, **FAULTS[fault])
        applies.append(time.monotonic() - start)
        assert answer.get("state") == "active", answer
        start = time.monotonic()
        assert card.undo(lease)["state"] == "clean"
        undoes.append(time.monotonic() - start)
    return Lengths(statistics.median(applies), statistics.median(undoes))


def carry_out(card: Card, kill: Kill, lengths: Lengths, before_mib: int) -> Outcome:
    """Start the work, kill at the moment, and watch until nothing is left or the time for that is over."""
    ttl_s = lengths.ttl_s(kill.phase)
    if kill.phase == "undo":
        kill = _in_force(card, kill, ttl_s)
        order: dict[str, object] = {"lease": kill.lease}
    else:
        order = card.order(kill.fault, kill.lease, ttl_s, **FAULTS[kill.fault])
    asked_s = _boottime_s()
    at_s = kill.share * (lengths.apply_s if kill.phase == "apply" else lengths.undo_s)
    with _at_work(card, kill.phase, order) as child:
        time.sleep(at_s)
        taken = card.memory().used_mib - before_mib
        hit = _strike(card, child, kill)
    state = card.state(kill.lease)
    deadline_s = _deadline_s(card, kill.lease) or asked_s + ttl_s
    last_s = deadline_s + BOUND_S

    def free() -> bool:
        return card.memory().used_mib <= before_mib and not card.holders(kill.lease)

    def ended_or_nobody_there() -> bool:
        """Whoever would end it is dead: then only the host's next sweep does, and there is nothing to wait for."""
        return _over(card, kill.lease) or not card.keepers(kill.lease)

    freed = until(free, last_s - _boottime_s())
    free_s = None if freed is None else _boottime_s() - deadline_s
    until(ended_or_nobody_there, last_s - _boottime_s())
    by_itself = _over(card, kill.lease)
    if not by_itself:
        card.ask("sweep")  # what the host's timer, or cron, does each minute
    ended = until(lambda: _over(card, kill.lease), last_s - _boottime_s())
    ended_s = None if ended is None else _boottime_s() - deadline_s
    left = len(card.holders(kill.lease)), len(card.claims()), card.state(kill.lease) not in _ENDED
    if any(left):
        card.ask("undo", lease=kill.lease)  # it is counted; the next kill has to find the card free all the same
    return Outcome(kill, at_s, hit, taken, state, free_s, ended_s, by_itself, *left)


def _in_force(card: Card, kill: Kill, ttl_s: float) -> Kill:
    """Put the fault in, for a kill of its undo; a busy host may need a longer lease for that."""
    for longer_s in (0.0, 1.0, 4.0):
        kill = replace(kill, lease=f"{kill.lease}-{longer_s:g}")
        answer = card.apply(kill.fault, kill.lease, ttl_s + longer_s, **FAULTS[kill.fault])
        if answer.get("state") == "active":
            return kill
    raise AssertionError(f"{kill.fault} was not put in: {answer}")


@contextmanager
def _at_work(card: Card, verb: str, order: dict[str, object]) -> Iterator[subprocess.Popen[bytes]]:
    child = card.start(verb, **order)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate(timeout=10)


def _strike(card: Card, child: subprocess.Popen[bytes], kill: Kill) -> bool:
    """Kill -9 what is meant; tell whether the agent was still at work."""
    hit = child.poll() is None
    if hit and kill.killed == "agent":
        child.kill()
    elif hit:
        os.killpg(child.pid, signal.SIGKILL)
    while kill.killed == KILLED[2]:
        found = [*card.keepers(kill.lease), *card.holders(kill.lease)]
        for one in found:
            os.kill(one.pid, signal.SIGKILL)
        if not found:
            break
        time.sleep(0.005)  # one that was about to be started may be there by now; one in the driver takes a while
    return hit


def _over(card: Card, lease: str) -> bool:
    return card.state(lease) in _ENDED and not card.claims()


def _deadline_s(card: Card, lease: str) -> float | None:
    state = LeaseFolder(Home(str(card.home), limited=False), lease, SystemClock()).seen()
    return None if state is None else min(state.deadline_s, state.end_s)


def _boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
