# SPDX-License-Identifier: Apache-2.0
"""Each trigger of this host alone, one after the other, as often as asked for; nothing stays, however it ends."""

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from chaosgpu.agent.errors import AgentError, BadRequest, Refused
from chaosgpu.agent.install import CRON
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.triggers.boot import why_not_at_boot
from chaosgpu.agent.triggers.interrupting import interruptible
from chaosgpu.agent.triggers.lone import KEEPER, SWEEP, TIMER, Seen, Spoiled, Trigger, watch_alone
from chaosgpu.agent.triggers.scene import Scene
from chaosgpu.agent.triggers.sweeps import SWEEP_EVERY_S
from chaosgpu.agent.units import CRON_FILE
from chaosgpu.agent.units import SWEEP as SWEEP_TIMER

__all__ = ["BOUND_S", "Drilled", "Watched", "drill", "triggers_of"]

BOUND_S = 5.0  # what may pass after a deadline
_CRON_EVERY_S = 60.0
_SWEEPS = 2
_MOST = 100
_TRIES = 6
_TTL_S, _LONGEST_TTL_S = 4.0, 20.0  # a sweep every 30 s leaves a longer lease no time in which it has not come


@dataclass(frozen=True)
class Watched:
    """One trigger and how each of its leases ended."""

    trigger: Trigger
    seen: Tuple[Seen, ...]

    @property
    def holds(self) -> bool:
        """Tell whether it ended every lease in time."""
        return len(self.seen) == self.trigger.repetitions and not any(one.why_not for one in self.seen)


@dataclass(frozen=True)
class Drilled:
    """A drill that has ended: what was watched, what is missing at boot, and what is left of the drill itself."""

    watched: Tuple[Watched, ...]
    why_not_at_boot: str
    left: Tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Tell whether each trigger alone is enough here."""
        return all(one.holds for one in self.watched) and not self.why_not_at_boot and not self.left


def triggers_of(systemd: Optional[Systemd], repetitions: int) -> List[Trigger]:
    """Return what ends leases on such a host."""
    if not 1 <= repetitions <= _MOST:
        raise BadRequest(f"A trigger is watched between 1 and {_MOST} times, not {repetitions}.")
    keeper = Trigger(KEEPER, "a process", BOUND_S, repetitions)
    if systemd is None:
        return [keeper, Trigger(SWEEP, f"{CRON}/{CRON_FILE}", _CRON_EVERY_S + BOUND_S, _SWEEPS)]
    timer = Trigger(TIMER, "systemd's, of the lease", BOUND_S, repetitions)
    return [keeper, timer, Trigger(SWEEP, SWEEP_TIMER, SWEEP_EVERY_S + BOUND_S, _SWEEPS)]


def drill(scene: Scene, triggers: Sequence[Trigger], tell: Callable[[str], object]) -> Drilled:
    """Watch each trigger; `tell` hears of each lease as it ends. Refused where it could not be done."""
    try:
        with interruptible(), scene.held():
            drilling = _Drilling(scene, tell)
            watched = tuple(Watched(trigger, tuple(drilling.watch(trigger))) for trigger in triggers)
            why_not = why_not_at_boot(scene)
    except (AgentError, KeyboardInterrupt):
        for line in scene.left:
            tell(f"LEFT: {line}")
        raise
    return Drilled(watched, why_not, tuple(scene.left))


class _Drilling:
    """A drill under way; it learns how long a lease must be on this host."""

    def __init__(self, scene: Scene, tell: Callable[[str], object]) -> None:
        self._scene, self._tell, self._ttl_s = scene, tell, _TTL_S
        self._name = scene.name()

    def watch(self, trigger: Trigger) -> List[Seen]:
        """Watch one trigger as often as it is to be; after a lease that it did not end no other is made."""
        found: List[Seen] = []
        while len(found) < trigger.repetitions and not any(one.why_not for one in found):
            found.append(self._once(trigger, len(found) + 1))
            said = found[-1].why_not or f"{found[-1].late_s:.2f} s after the deadline"
            self._tell(f"{trigger.name} alone, {len(found)} of {trigger.repetitions}: {said}")
        return found

    def _once(self, trigger: Trigger, number: int) -> Seen:
        why = ""
        for attempt in range(_TRIES):
            try:
                lease = f"{self._name}-{trigger.name}-{number}-{attempt}"
                return watch_alone(self._scene, trigger, lease, self._ttl_s)
            except Spoiled as spoiled:  # noqa: PERF203 (six of them at most)
                why = str(spoiled).rstrip(".")
                if spoiled.longer:
                    self._ttl_s = min(2 * self._ttl_s, _LONGEST_TTL_S)
                self._tell(f"{trigger.name} alone, {number} of {trigger.repetitions}, once more: {why}")
        raise Refused(f"The {trigger.name} could not be watched alone, tries: {_TRIES}; the last one: {why}.")
