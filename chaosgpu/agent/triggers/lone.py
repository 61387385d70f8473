# SPDX-License-Identifier: Apache-2.0
"""One harmless lease that one trigger alone can end: the others are taken away from it, and then it is watched."""

import os
import signal
from dataclasses import dataclass
from typing import List, Optional, Set

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.selfdrill import BROKEN
from chaosgpu.agent.record import ENDED, OPEN, State
from chaosgpu.agent.triggers.interrupting import undisturbed
from chaosgpu.agent.triggers.scene import RUN, Scene
from chaosgpu.agent.watchdog.timer import LEAD_S, armed_units, has_timer, unit_of

__all__ = ["KEEPER", "SWEEP", "TIMER", "Seen", "Spoiled", "Trigger", "watch_alone"]

KEEPER, TIMER, SWEEP = "keeper", "timer", "sweep"
_LOOK_EVERY_S = 0.05
_GONE_WITHIN_S = 2.0
_AROUND_S = 4.0  # what a lease takes besides its time: an apply before it, an undo after it
# What a busy host refuses may go well with more time; anything else would be refused again.
_BUSY = ("refused", "short", "store", "unverified")


@dataclass(frozen=True)
class Trigger:
    """One of those that undo a lease, what it is here, how late it may be, and how often it is watched."""

    name: str
    what: str
    bound_s: float
    repetitions: int


@dataclass(frozen=True)
class Seen:
    """How one lease ended: how late after its deadline, and if it did not end as it should, why not."""

    late_s: Optional[float]
    why_not: str = ""


class Spoiled(Exception):
    """This one shows nothing, by no fault of the trigger; `longer`: with a longer lease it may."""

    def __init__(self, why: str, *, longer: bool = False) -> None:
        super().__init__(why)
        self.longer = longer


def watch_alone(scene: Scene, trigger: Trigger, lease: str, ttl_s: float) -> Seen:
    """Make the lease, leave it to this trigger, and tell how it ended; nothing of it is left, however this ends."""
    one = _Lone(scene, trigger, lease, ttl_s)
    scene.sweeps.await_quiet(ttl_s + _AROUND_S)
    try:
        before = scene.sweeps.mark()
        one.apply()
        missing = one.leave_alone()
        if missing:
            return Seen(None, missing)
        seen = one.watch()
        swept = scene.sweeps.mark() != before
        if not seen.why_not and swept != (trigger.name == SWEEP):
            raise Spoiled("a sweep came in between" if swept else "somebody else than the sweep ended it")
        return seen
    finally:
        with undisturbed():
            scene.end(lease)


class _Lone:
    """One lease under watch."""

    def __init__(self, scene: Scene, trigger: Trigger, lease: str, ttl_s: float) -> None:
        self._scene, self._trigger, self._lease, self._ttl_s = scene, trigger, lease, ttl_s
        self._text = f"well: {lease}\n"
        self._deadline_s = 0.0

    def apply(self) -> None:
        """Put the fault in."""
        self._scene.make(self._lease, self._text)
        answer = self._scene.agent.ask(
            "apply",
            lease=self._lease,
            fault="selfdrill.file",
            params={"path": self._scene.file(self._lease)},
            ttl_s=self._ttl_s,
            max_duration_s=self._ttl_s,
            run=RUN,
        )
        if "error" in answer:
            error = values.mapping(answer, "error")
            if error.get("kind") in _BUSY:
                raise Spoiled(str(error.get("message")), longer=True)
            permit = ' The drill wants "selfdrill.*" under "permit" in /etc/chaosgpu/policy.json.'
            raise Refused(f"{error.get('message')}{permit if error.get('kind') == 'forbidden' else ''}")
        left_s = values.number(answer, "expires_in_s", 0.0, self._ttl_s)
        self._deadline_s = values.number(answer, "boottime_s", 0.0, float("inf")) + left_s

    def leave_alone(self) -> str:
        """Take the other triggers away and see that they are gone; return what is missing where its own one is."""
        if self._trigger.name != KEEPER:
            self._kill_keeper()
        if self._trigger.name != TIMER:
            self._stop_timer()
        there = self._there()
        if there - {self._trigger.name}:
            raise Spoiled(f"its {' and '.join(there - {self._trigger.name})} could not be taken away", longer=True)
        if self._left_s() <= LEAD_S or self._scene.text(self._lease) != BROKEN:
            raise Spoiled("its time was over before the others were taken away", longer=True)
        return "" if there or self._trigger.name == SWEEP else f"the lease has no {self._trigger.name}"

    def watch(self) -> Seen:
        """Wait until the text is back, and then for the record's word."""
        bound_s = self._trigger.bound_s
        while self._scene.text(self._lease) != self._text:
            if self._left_s() < -bound_s:
                return Seen(None, f"{bound_s:g} s after its deadline the lease was still in force{self._units()}")
            self._see_alone()
            self._scene.clock.sleep(_LOOK_EVERY_S)
        seen_s = -self._left_s()
        state = self._record()
        while state.state in OPEN and self._left_s() >= -bound_s:
            self._scene.clock.sleep(_LOOK_EVERY_S)
            state = self._record()
        if state.state not in ENDED:
            return Seen(None, f"the text is back, but the lease is {state.state}: {state.reason}")
        if state.ended_by != "deadline":
            raise Spoiled(f"it was ended by {state.ended_by}: {state.reason}")
        clean_s = values.number(state.history[-1], "boottime_s", 0.0, float("inf")) - state.deadline_s
        late_s = max(seen_s, clean_s)
        if late_s < 0:
            return Seen(late_s, f"the lease ended {-late_s:.2f} s before its deadline")
        return Seen(late_s, "" if late_s <= bound_s else f"the lease ended {late_s:.2f} s after its deadline")

    def _left_s(self) -> float:
        return self._deadline_s - self._scene.clock.boottime_s()

    def _record(self) -> State:
        return State.from_json(values.mapping(self._scene.agent.asked("record", lease=self._lease), "state"))

    def _units(self) -> str:
        """Return what systemd says of the timer that should have acted."""
        if self._trigger.name != TIMER or self._scene.systemd is None:
            return ""
        units = [f"{unit_of(self._lease)}.{kind}" for kind in ("timer", "service")]
        shown = self._scene.systemd.ask("show", "--property=ActiveState,SubState", *units)
        words = [line.partition("=")[2] for line in shown.split()]
        return f" (timer {' '.join(words[:2])}, its service {' '.join(words[2:])})"

    def _there(self) -> Set[str]:
        """Return which of the two that belong to a lease it has."""
        found = {KEEPER} if self._scene.lease(self._lease).kept() else set()
        return found | ({TIMER} if has_timer(self._lease) else set())

    def _see_alone(self) -> None:
        """Find out whether a sweep before the deadline, or anybody's `list`, has brought one back."""
        others = self._there() - {self._trigger.name}
        if others:
            raise Spoiled(f"its {' and '.join(others)} was brought back")

    def _kill_keeper(self) -> None:
        folder = self._scene.lease(self._lease)
        end_s = self._scene.clock.boottime_s() + _GONE_WITHIN_S
        while folder.kept():
            for pid in _keepers(folder.path):
                os.kill(pid, signal.SIGKILL)
            if self._scene.clock.boottime_s() > end_s:
                raise Refused(f"The keeper of lease {self._lease} could not be killed within {_GONE_WITHIN_S:g} s.")
            self._scene.clock.sleep(_LOOK_EVERY_S)

    def _stop_timer(self) -> None:
        systemd = self._scene.systemd
        if systemd is None:
            return
        units = [f"{unit_of(self._lease)}.{kind}" for kind in ("timer", "service")]
        if has_timer(self._lease):
            systemd.ask("stop", units[0])
        if armed_units(systemd.ask("show", "--property=Id,ActiveState,SubState", *units)):
            raise Spoiled("its timer had fired before it could be stopped", longer=True)


def _keepers(lease_folder: str) -> List[int]:
    """Return the processes that are `keep` of exactly this lease."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 (as everywhere in the agent)
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123 (as above)
                words = file.read().split(b"\0")
        except OSError:
            continue
        if name.isdigit() and words[-3:-1] == [b"keep", lease_folder.encode()]:
            found.append(int(name))
    return found
