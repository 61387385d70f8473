# SPDX-License-Identifier: Apache-2.0
"""A Slurm node: taken by a reservation of ours and a drain with our reason, and only where nobody's job is on it.

The reservation has neither IGNORE_JOBS nor MAINT: without the first Slurm itself refuses a node with a running job, and
without the second one that somebody else has reserved, so that no job can come between our look and our hand.
"""

import os
from typing import Dict, List, Optional

from chaosgpu.agent.errors import Forbidden, Refused, Unanswered, Unverified
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.program import Done, find, run
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.slurm_node import Node, has_reservation, parse_jobs, parse_node
from chaosgpu.agent.service.thing import Budget, Judged, Thing
from chaosgpu.agent.values import JsonObject

__all__ = ["Slurm"]

_ANSWER_WITHIN_S = 20.0  # its tools try a dead controller for some ten seconds
_LONGEST_REASON = 200
_SETTLES_S = 60.0  # slurmd registers again after a reboot


class Slurm(Thing):
    """The node of Slurm that this host is."""

    kind = "slurm"
    entry = True

    def __init__(self, node: Optional[str], drill: str, reason: str, desk: Desk) -> None:
        self._node = node or os.uname().nodename.partition(".")[0]
        self._desk = desk
        self._reservation = f"chaosgpu-{drill}-{self._node}"
        self._reason = f"chaosgpu {drill}: {reason}"[:_LONGEST_REASON].strip()

    def prior(self) -> JsonObject:
        """Note its state; refuse another host's node, one with jobs, and one that others have taken already."""
        if self._desk.home.limited:
            raise Forbidden(f"Under CHAOSGPU_AGENT_HOME={self._desk.home.path} no node of Slurm is touched.")
        node = self._look()
        here = os.uname().nodename
        if node.host.partition(".")[0].lower() != here.partition(".")[0].lower():
            raise Refused(f"Slurm's node {node.name} is the host {node.host or 'unknown'}, and this is {here}.")
        if not node.usable or "RESERVED" in node.flags:
            why = f": {node.reason}" if node.reason else ""
            raise Refused(
                f"Slurm's node {node.name} is {node.state}{why}. Only a node in service is taken, since only such a "
                "one could be given back as it was; nothing was touched."
            )
        self._refuse_jobs()
        if self._reserved():
            raise Refused(
                f"Slurm has a reservation {self._reservation} already, and no drain is recorded here: see whose it is "
                f"(`scontrol show reservation {self._reservation}`), then delete it."
            )
        return {"node": node.name, "state": node.state, "reservation": self._reservation, "reason": self._reason}

    def shown(self, taken: Taken) -> Dict[str, str]:  # noqa: ARG002 (contract)
        """Say whether it is in service, or who has drained it, and whether our reservation is there."""
        return self._shown(self._look(), reserved=self._reserved())

    def drained(self, taken: Taken) -> Dict[str, str]:  # noqa: ARG002 (contract)
        """Say that it is drained with our reason, and reserved."""
        return {f"slurm node {self._node}": f"drained: {self._reason}", "slurm reservation": self._reservation}

    def take(self, taken: Taken, budget: Budget) -> None:  # noqa: ARG002 (the names are known)
        """Reserve it, then drain it; a job that got on it meanwhile makes Slurm refuse."""
        if not self._reserved():
            asked = (
                f"ReservationName={self._reservation}", "StartTime=now", "Duration=infinite", "Users=root",
                f"Nodes={self._node}",
            )  # fmt: skip
            done = self._call("create", "reservation", *asked, budget=budget)
            self._desk.step("reserved")
            if not self._reserved():
                raise Refused(f"Slurm does not give us the node {self._node}: {done.sentence()}")
        if self._look().drained_by != self._reason:
            words = (f"NodeName={self._node}", "State=DRAIN", f"Reason={self._reason}")
            done = self._call("update", *words, budget=budget)
            self._desk.step("drained")
            if self._look().drained_by != self._reason:
                raise Unverified(f"Slurm was told to drain {self._node}, and it is {self._look().state}: {done.said}")
        self._refuse_jobs()

    def judge(self, taken: Taken) -> Judged:
        """Resume it only where the reason is ours; delete our reservation in any case."""
        node, reserved = self._look(), self._reserved()
        left: List[str] = []
        resume = node.drained_by == self._reason
        if not resume and node.drained_by is not None:
            left.append(f"Slurm's node {node.name} is drained by somebody else ({node.drained_by}); it was not resumed")
        elif not resume and taken.stage == "taken":
            left.append(f"Slurm's node {node.name} was resumed by somebody meanwhile; it was left {node.state}")
        if not reserved and taken.stage == "taken":
            left.append(f"the reservation {self._reservation} was removed by somebody meanwhile")
        after = self._shown(node, reserved=False)
        if resume:
            after[f"slurm node {self._node}"] = "in service"
        return Judged({"resume": resume}, after, left)

    def put_back(self, taken: Taken, budget: Budget) -> List[str]:
        """Delete the reservation, then resume the node and see it in service."""
        if self._reserved():
            done = self._call("delete", "reservation", self._reservation, budget=budget)
            self._desk.step("unreserved")
            if self._reserved():
                raise Unverified(f"Slurm's reservation {self._reservation} is still there: {done.sentence()}")
        if not taken.plan.get("resume"):
            return []
        # A node that does not answer yet loses its drain by a resume, and does not come up by it.
        budget.wait(lambda: self._look().answers, _SETTLES_S)
        said = ""
        if self._look().drained_by == self._reason:
            said = self._call("update", f"NodeName={self._node}", "State=RESUME", budget=budget).said.strip()
            self._desk.step("resumed")
        if not budget.wait(lambda: self._look().usable, _SETTLES_S):
            node = self._look()
            raise Unverified(f"Slurm's node {node.name} is {node.state}, and not in service. {said} Does slurmd run?")
        return []

    def _shown(self, node: Node, *, reserved: bool) -> Dict[str, str]:
        drained = None if node.drained_by is None else f"drained: {node.drained_by}"
        word = drained or ("in service" if node.usable else node.state)
        return {
            f"slurm node {self._node}": word,
            "slurm reservation": self._reservation if reserved else "none",
        }

    def _look(self) -> Node:
        done = self._call("show", "node", self._node)
        if not done.well:
            raise Unanswered(f"Slurm says nothing of the node {self._node}: {done.sentence()}")
        return parse_node(done.out)

    def _reserved(self) -> bool:
        done = self._call("show", "reservation", self._reservation)
        if not done.well and "not found" not in f"{done.out} {done.said}".lower():
            raise Unanswered(f"Slurm says nothing of its reservations: {done.sentence()}")
        return has_reservation(done.out, self._reservation)

    def _refuse_jobs(self) -> None:
        program = _program("squeue")
        done = run((program, "--noheader", f"--nodelist={self._node}", "--format=%A|%u|%T"), _ANSWER_WITHIN_S)
        if not done.well:
            raise Unanswered(f"Slurm does not say which jobs are on {self._node}: {done.sentence()}")
        jobs = parse_jobs(done.out)
        if jobs:
            raise Refused(
                f"Jobs are on Slurm's node {self._node}: {', '.join(jobs[:20])}. A node is taken only without any: "
                "wait for them, or have their owners end them."
            )

    @staticmethod
    def _call(*words: str, budget: Optional[Budget] = None) -> Done:
        within_s = _ANSWER_WITHIN_S if budget is None else budget.left_s(_ANSWER_WITHIN_S)
        return run((_program("scontrol"), *words), within_s)


def _program(name: str) -> str:
    found = find(name)
    if found is None:
        raise Refused(f"`slurm` was named, and this host has no {name}: leave it out where Slurm is not.")
    return found
