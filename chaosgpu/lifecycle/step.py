# SPDX-License-Identifier: Apache-2.0
"""One step: one of our playbooks on some hosts, its intent on disk before it, and what came of it behind it."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import operator
from chaosgpu.fleet.play import Outcome, Playbook, Template, play
from chaosgpu.fleet.targets import inventory_in_use
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lifecycle.course import PIN_FAULT, Course, pin_lease
from chaosgpu.lifecycle.plan import Plan, timeout_of

__all__ = ["Stage", "packages_variable"]

logger = logging.getLogger("chaostoolkit")

# Ansible's own default of how many hosts it takes at once.
_FORKS = 5


@dataclass(frozen=True)
class Stage:
    """What the steps of one lifecycle have in common."""

    course: Course
    plan: Plan
    # Where our playbooks lie.
    playbooks: Path
    # Each host's packages, where they are pinned.
    packages: Mapping[str, JsonObject] = field(default_factory=dict)

    def play(  # noqa: PLR0917 (a step, where, and what only some have)
        self,
        step: str,
        hosts: Sequence[str],
        way: str,
        reason: str | None = None,
        within_s: float | None = None,
        differences: Sequence[str] = (),
    ) -> dict[str, Outcome]:
        """Play a step and return what came of it on each host.

        `way`: `there` before the method, `method` for an action of it, `back` for what puts back: there nothing is
        raised. `within_s`: how long it may take in all, where that is not the step's own.
        """
        if not hosts:
            return {}
        self.course.intend(step, hosts, way, **({} if reason is None else {"reason": reason}))
        logger.info("%s on %s", step.upper(), ", ".join(hosts))
        variables = self._variables(step, hosts, way, reason)
        if differences:
            variables["chaosgpu_differences"] = [*differences]
        playbook = Playbook(self.playbooks / f"{step}.yml", variables, must_tell=True)
        leased = self._leased(step, hosts)
        self._lease("lease.reserved" if step == "pin" else "lease.reverting", step, leased)
        try:
            found = play(playbook, hosts, self._within_s(step, len(hosts)) if within_s is None else within_s)
        except ChaosGpuError as error:
            how = "failed" if way == "back" else "refused"
            found = {host: Outcome(host, how, str(error), 0 if how == "refused" else None) for host in hosts}
        self.course.done(step, way, found)
        for host in leased:
            self._lease(_lease_line(step, found[host]), step, [host], found[host])
        return found

    def _leased(self, step: str, hosts: Sequence[str]) -> list[str]:
        """Return the hosts whose pin, a lease of theirs, this step makes or ends."""
        if step == "pin":
            return [host for host in hosts if self.packages.get(host)]
        return [host for host in hosts if self.course.may_hold_pin(host)] if step == "rollback" else []

    def _variables(self, step: str, hosts: Sequence[str], way: str, reason: str | None) -> JsonObject:
        """Return what every playbook of ours gets."""
        plan, inventory = self.plan, inventory_in_use()
        found: JsonObject = {
            "chaosgpu_drill": self.course.drill,
            "chaosgpu_by": operator(),
            "chaosgpu_drain": plan.drain,
            "chaosgpu_reason": reason or f"drill {self.course.drill}",
            "chaosgpu_within_s": plan.within_s,
            "chaosgpu_allow_reboot": plan.allow_reboot,
        }
        if self.course.run.directory.is_dir():
            found["chaosgpu_record_dir"] = str(self.course.run.directory / "lifecycle")
        # They are out of service together, so nothing is won by one after the other.
        found["chaosgpu_max_unavailable"] = len(hosts)
        if step == "verify":
            found["chaosgpu_against"] = "lock" if way == "there" else "snapshot"
        if inventory is not None:
            found["chaosgpu_agent_path"] = inventory.agent
        return found | packages_variable({host: self.packages[host] for host in hosts if host in self.packages})

    def _within_s(self, step: str, hosts: int) -> float:
        """Return how long a step may take on all hosts, so many at a time."""
        return timeout_of(step, self.plan.timeouts_s) * math.ceil(hosts / _FORKS)

    def _lease(self, line: str, step: str, hosts: Sequence[str], outcome: Outcome | None = None) -> None:
        """Write of the pin, which is a lease of the host, what is written of leases."""
        drill = self.course.drill
        for host in hosts:
            more: JsonObject = {"by": "lifecycle"}
            if line == "lease.clean" and step == "pin":
                more = {"never_in_force": True, "reason": outcome.said if outcome is not None else None}
            elif outcome is not None:
                more = {"observed" if step == "pin" else "restored": outcome.told, "reason": outcome.said or None}
            elif step == "pin":
                more = {"params": {"packages": self.packages[host]}, "max_duration_s": self.plan.within_s}
            self.course.run.note(line, lease=pin_lease(drill), host=host, fault=PIN_FAULT, drill=drill, **more)


def _lease_line(step: str, outcome: Outcome) -> str:
    """Return the type of the line that says how the pin stands."""
    if step == "pin" and outcome.ok:  # what was as wanted already needs no lease
        return "lease.active" if outcome.told.get("lease") else "lease.clean"
    if step == "pin":
        return "lease.refused" if outcome.how == "refused" else "fault.unverified"
    return "lease.clean" if outcome.ok else "lease.stuck"


def packages_variable(by_host: Mapping[str, JsonObject]) -> JsonObject:
    """Return the packages as one variable; where hosts differ, each finds its own."""
    every = [*by_host.values()]
    if not every:
        return {}
    if all(one == every[0] for one in every):
        return {"chaosgpu_packages": every[0]}
    own = Template("{{ chaosgpu_packages_of_host[inventory_hostname] }}")
    return {"chaosgpu_packages": own, "chaosgpu_packages_of_host": dict(by_host)}
