# SPDX-License-Identifier: Apache-2.0
"""Run the drill of a plan: first everything that speaks against it, each of which goes on record."""

import datetime as dt
from typing import TYPE_CHECKING

from chaosgpu.drill.checks import ready_to_run
from chaosgpu.drill.claims import claimed
from chaosgpu.drill.means import Ended, Means
from chaosgpu.drill.notify import Teller
from chaosgpu.drill.occurrences import occurrence_at
from chaosgpu.drill.planfile import Written
from chaosgpu.drill.series import Begun, Course
from chaosgpu.drill.settle import due_now
from chaosgpu.drill.syslog import words
from chaosgpu.errors import ChaosGpuError
from chaosgpu.lease.ids import stamp

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

__all__ = ["run_drill"]


def run_drill(written: Written, means: Means, *, scheduled: bool = False) -> Ended:
    """Run the drill of a plan; what is refused is recorded, and raised as Refused or BadArgument."""
    now, plan = means.names.now(), written.plan
    due = _due(written, means, now) if scheduled else None
    said: JsonObject = {"drill": plan.drill, "title": plan.title, "change_id": plan.change_id, "by": means.operator}
    teller = Teller(None)
    try:
        teller = Teller.of(plan.notify, means.environment, means.send)
        ready = ready_to_run(written, means.site, means.record, (plan.operator, means.operator), now, run=means.run)
        with claimed(plan.hosts.names, means.environment.get("CHAOSGPU_AGENT_HOME")):
            means.look(written)
            means.record.planned(written)
            for one in ready.approvals:
                means.record.approved(written, one)
            return Course(written, means, ready, teller, due).run()
    except Begun as begun:
        raise begun.error from begun
    except ChaosGpuError as error:
        means.record.skipped(
            plan.drill, due or stamp(now), str(error), how="refused",
            plan_sha256=written.sha256, by=means.operator, change_id=plan.change_id,
        )  # fmt: skip
        means.syslog(words("refused", drill=plan.drill, change=plan.change_id, operator=means.operator, reason=error))
        teller.tell("refused", {**said, "reason": str(error)})
        raise


def _due(written: Written, means: Means, now: dt.datetime) -> str | None:
    """Return which start this is: by the schedule on record, else by the plan's own."""
    plan = written.plan
    found = due_now(means.record.read().entries, plan.drill, now)
    if found is not None:
        return found
    try:
        own = occurrence_at(plan.timing, now)
    except ChaosGpuError:  # what is wrong with the plan is told by its checks
        return None
    return None if own is None else own.name
