# SPDX-License-Identifier: Apache-2.0
"""The way back: rollback, verify, compare, then return; a host that is not as it was goes into quarantine.

Nothing here raises for what a host does: each host is brought as far as it comes, whatever happens on another.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chaosgpu.fleet.play import Outcome
from chaosgpu.lease.deeds import Deed
from chaosgpu.lease.run import Run
from chaosgpu.lifecycle.baseline import compare
from chaosgpu.lifecycle.course import Life
from chaosgpu.lifecycle.step import Stage

__all__ = ["PAUSES_S", "Back", "come_back", "held_of"]

logger = logging.getLogger("chaostoolkit")

_MOST_TOLD = 50

# A host that boots is not there for a while: it is asked again after so many seconds.
PAUSES_S = (10.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True)
class Back:
    """What became of a host: one of `returned`, `cordoned` and `quarantined`, or none: then it is unfinished."""

    host: str
    # As it was before the run, as far as its drill can tell.
    restored: bool
    # In service, as it was.
    returned: bool = False
    # As it was, and out of service until a person gives it back.
    cordoned: bool = False
    quarantined: bool = False
    why: str | None = None
    # Why it is not in quarantine.
    loose: str | None = None

    @property
    def line(self) -> str:
        """Return the type of the record's line that ends its lifecycle, or leaves it open."""
        ended = ("returned", self.returned), ("cordoned", self.cordoned), ("quarantined", self.quarantined)
        return f"host.{next((name for name, true in ended if true), 'unfinished')}"

    @property
    def sentence(self) -> str:
        """Say it in a sentence."""
        if self.returned:
            return f"{self.host} is restored and in service"
        if self.cordoned:
            return f"{self.host} is restored and was kept out of service ({self.why})"
        where = "it is in quarantine" if self.quarantined else f"it could not be put into quarantine: {self.loose}"
        return f"{self.host} was not restored ({self.why or 'no reason given'}); {where}"


@dataclass(frozen=True)
class _Way:
    """How each host does on the way back."""

    stage: Stage
    sleep: Callable[[float], None]
    # What each host differs in, as far as the comparison saw it.
    differences: dict[str, list[str]] = field(default_factory=dict)

    def step(self, step: str, hosts: Sequence[str]) -> dict[str, str]:
        """Play a step, again on hosts that could not be reached; return where it did not go well, and why."""
        found = self.stage.play(step, hosts, "back")
        for pause_s in PAUSES_S:
            away = [host for host, one in found.items() if one.how == "unreachable"]
            if not away:
                break
            logger.warning("%s: %s cannot be reached, tried again in %g s", step, ", ".join(away), pause_s)
            self.sleep(pause_s)
            found = {**found, **self.stage.play(step, away, "back")}
        return {host: one.said or f"{step} {one.how}" for host, one in found.items() if not one.ok}

    def compare(self, lives: Sequence[Life]) -> dict[str, str]:
        """Compare hosts with their baselines and write it down; return those that are not as they were, and why."""
        wrong: dict[str, str] = {}
        course = self.stage.course
        for host, found in compare(course, [life.host for life in lives if life.measured]).items():
            why = found.reason
            wrong |= {} if why is None else {host: why}
            self.differences[host] = found.told
            line = "host.restored" if why is None else "host.differs"
            course.note(line, host=host, differences=[*found.differences], unread=[*found.unread], reason=why)
        for life in lives:
            if not life.measured:  # what failed came before the baseline, or the record of it is gone
                course.note("host.restored", host=life.host, compared=False)
        return wrong

    def quarantine(self, wrong: Mapping[str, str]) -> dict[str, Outcome]:
        """Put each host into quarantine with its own reason; hosts of one reason at once."""
        by_reason: dict[str, list[str]] = {}
        for host, why in wrong.items():
            by_reason.setdefault(why, []).append(host)
        found: dict[str, Outcome] = {}
        for why, hosts in by_reason.items():
            every = [one for host in hosts for one in self.differences.get(host, [])]
            found |= self.stage.play("quarantine", hosts, "back", why, differences=[*dict.fromkeys(every)][:_MOST_TOLD])
        return found


def come_back(
    stage: Stage, held: Mapping[str, str], *, give_back: bool = False, sleep: Callable[[float], None] = time.sleep
) -> list[Back]:
    """Bring back every host that is not settled; `held`: hosts that are not as they were, whatever is seen here.

    A host on which a step failed before the method stays out of service, though it is as it was, unless a person
    asked for it: `give_back`.
    """
    lives = [life for life in stage.course.lives.values() if not life.settled and (give_back or not life.cordoned)]
    if not lives:
        return []
    way = _Way(stage, sleep)
    wrong = {life.host: held[life.host] for life in lives if life.host in held}
    wrong = way.step("rollback", [life.host for life in lives if life.changed]) | wrong
    kept = [life.host for life in lives if "snapshot" in life.sure and life.host not in wrong]
    wrong = way.step("verify", kept) | wrong
    wrong = way.compare([life for life in lives if life.host not in wrong]) | wrong
    # One that was never out of service is in service, whatever failed on it.
    failed = {life.host: life.failed for life in lives if life.failed and life.drained and life.host not in wrong}
    failed = {} if give_back else failed
    lost = way.step(
        "return", [life.host for life in lives if life.drained and life.host not in wrong and life.host not in failed]
    )
    outcomes = way.quarantine({**wrong, **lost})
    backs = [_back(life, {**wrong, **lost}.get(life.host), failed, outcomes.get(life.host)) for life in lives]
    for back in backs:
        stage.course.note(back.line, host=back.host, reason=back.why)
    return backs


def held_of(run: Run, without: Deed) -> dict[str, str]:
    """Name the hosts on which something of the run may still be in force: they must not go back into service."""
    held = {host: why for deed in run.deeds if deed is not without for host, why in deed.settled().spoilt.items()}
    return held | {
        lease.host: f"{lease.fault} is {lease.state} there: {lease.reason or 'no reason given'}"
        for lease in run.book.open()
    }


def _back(life: Life, why: str | None, failed: Mapping[str, str | None], outcome: Outcome | None) -> Back:
    host = life.host
    if why is not None:
        in_it = outcome is not None and outcome.ok
        loose = None if in_it else "nobody tried" if outcome is None else outcome.said or outcome.how
        return Back(host, restored=False, quarantined=in_it, why=why, loose=loose)
    if host in failed:
        return Back(host, restored=True, cordoned=True, why=failed[host])
    return Back(host, restored=True, returned=True)
