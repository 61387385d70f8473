# SPDX-License-Identifier: Apache-2.0
"""The lifecycle around one experiment: begun before the method, brought to its end on any ending of the run."""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.deeds import Settled
from chaosgpu.lease.run import Run
from chaosgpu.lifecycle.back import Back, come_back, held_of
from chaosgpu.lifecycle.course import Course
from chaosgpu.lifecycle.ours import our_playbooks
from chaosgpu.lifecycle.pin import why_not_pinned
from chaosgpu.lifecycle.plan import BACK, Plan
from chaosgpu.lifecycle.step import Stage
from chaosgpu.lifecycle.there import go_there

__all__ = ["Around", "packages_for", "plan_around", "settled_of"]

logger = logging.getLogger("chaostoolkit")


class Around:
    """What was done to the hosts of a run before its method, and has to be put back after it."""

    with_rollbacks, rank = False, 2

    def __init__(self, stage: Stage, hosts: Sequence[str], *, resumed: bool = False, give_back: bool = False) -> None:
        self._stage, self._hosts, self._resumed, self._give_back = stage, tuple(hosts), resumed, give_back
        self._stopped: str | None = None
        self._backs: dict[str, Back] = {}
        self._unproved: list[str] = []

    def begin(self) -> str | None:
        """Take the way there; return why the method must not be played, or None."""
        stage, run = self._stage, self._stage.course.run
        run.ledger.append(
            "lifecycle.planned",
            drill=stage.course.drill,
            hosts=[*self._hosts],
            plan=stage.plan.as_json(),
            packages={**stage.packages},
            playbooks=str(stage.playbooks),
        )
        run.deeds.append(self)
        logger.info("%s", _announced(stage, self._hosts))
        self._stopped = go_there(stage, self._hosts)
        if self._stopped is None:
            run.not_ready = None
        return self._stopped

    def put_back(self, by: str) -> None:  # noqa: ARG002 (a deed's)
        """Take the way back with every host that is not settled."""
        stage = self._stage
        if self._stopped is None and not self._resumed and "pin" in stage.plan.steps and not self._unproved:
            self._unproved = why_not_pinned(stage)
        for back in come_back(stage, held_of(stage.course.run, self), give_back=self._give_back):
            self._backs[back.host] = back
            (logger.info if back.returned else logger.error)("%s", back.sentence)

    @property
    def stage(self) -> Stage:
        """Return what its steps have in common."""
        return self._stage

    @property
    def backs(self) -> tuple[Back, ...]:
        """Return what became of each host that was brought back."""
        return tuple(self._backs.values())

    def settled(self) -> Settled:
        """Say what became of the hosts."""
        lives = self._stage.course.lives.values()
        kept = ", ".join(life.host for life in lives if life.cordoned and not life.settled)
        by_hand = f"{kept} stays out of service until `chaosgpu recover --give-back {self._stage.course.run.id}`"
        stopped = [one for one in (self._stopped, by_hand if kept else None) if one is not None]
        return settled_of(self.backs, self._unproved, "; ".join(stopped) or None)


def settled_of(backs: Iterable[Back], unproved: Sequence[str], stopped: str | None) -> Settled:
    """Return what counts for the verdict."""
    every = list(backs)
    left = tuple(back.sentence for back in every if not back.restored)
    loose = tuple(back.sentence for back in every if back.line == "host.unfinished")
    return Settled(left, loose, tuple(unproved), stopped)


def plan_around(
    run: Run, plan: Plan, hosts: Sequence[str], configuration: Mapping[str, object] | None, folder: Path | None = None
) -> Around:
    """Make the lifecycle of a run; BadArgument where a playbook or a host's packages are not to be had."""
    playbooks = folder or our_playbooks(configuration, [*plan.steps, *BACK])
    return Around(Stage(Course(run, run.id), plan, playbooks, packages_for(plan, hosts)), hosts)


def _announced(stage: Stage, hosts: Sequence[str]) -> str:
    """Say what is going to happen to the hosts."""
    named = sorted({f"{name} {version}" for one in stage.packages.values() for name, version in one.items()})
    pins = f" ({', '.join(named)}; they go back by themselves after {stage.plan.within_s} s)" if named else ""
    return f"WILL TAKE OUT OF SERVICE {', '.join(hosts)}: {', '.join(stage.plan.steps)}{pins}"


def packages_for(plan: Plan, hosts: Sequence[str]) -> dict[str, JsonObject]:
    """Return each host's packages: those of the plan, or what the lock file says of it."""
    if plan.lock is None:
        return dict.fromkeys(hosts, plan.packages) if plan.packages else {}
    from chaosgpu.cuda import lockfile  # noqa: PLC0415 (pydantic, which most runs have no use for)
    from chaosgpu.cuda.compare import due_of  # noqa: PLC0415 (likewise)
    from chaosgpu.cuda.pins import packages_of  # noqa: PLC0415 (likewise)

    lock = lockfile.read(Path(plan.lock).expanduser())
    today = dt.datetime.now(dt.UTC).date()
    return {host: {**packages_of(due_of(lock, host, today))} for host in hosts}
