# SPDX-License-Identifier: Apache-2.0
"""Everything that must be true of a plan before its drill begins; the first that is not is the reason."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from chaosgpu.drill.approval import Approval, approvals_of, why_not_approved
from chaosgpu.drill.change import why_no_change
from chaosgpu.drill.command import Run, run_command
from chaosgpu.drill.experiments import Loaded, load
from chaosgpu.drill.gate import why_gate_refuses
from chaosgpu.drill.occurrences import check_schedule
from chaosgpu.drill.planfile import Written
from chaosgpu.drill.record import Record
from chaosgpu.drill.site import Site
from chaosgpu.drill.window import Opening, check_window, open_now
from chaosgpu.errors import BadArgument, Refused

__all__ = ["Ready", "check_plan", "ready_to_run"]


@dataclass(frozen=True)
class Ready:
    """A plan whose drill may begin."""

    experiments: list[Loaded]
    opening: Opening
    approvals: list[Approval]


def check_plan(written: Written, now: dt.datetime) -> list[Loaded]:
    """Check what the plan itself says, whoever runs it and whenever."""
    plan = written.plan
    check_window(plan.timing, now)
    check_schedule(plan.timing)
    over = dt.datetime.combine(plan.approvals.valid_until, dt.time.max, dt.UTC)
    if plan.approvals.needed and over < now:
        raise BadArgument(f"approvals.valid_until is {plan.approvals.valid_until}, which is over: choose a later day.")
    return load(written)


def ready_to_run(
    written: Written, site: Site, record: Record, operators: Sequence[str], now: dt.datetime, *, run: Run = run_command
) -> Ready:
    """Check the rest; Refused or BadArgument with one sentence."""
    plan = written.plan
    experiments = check_plan(written, now)
    entries = record.trusted().entries
    opening = open_now(plan.timing, now)
    signers = None if site.allowed_signers is None else site.path(site.allowed_signers)
    needed = max(site.approvals, plan.approvals.needed)
    for why in (
        why_gate_refuses(plan, entries, now, site.level_counts_days),
        why_not_approved(written, needed, signers, operators, now),
        why_no_change(plan.change_id, site, run),
    ):
        if why is not None:
            raise Refused(why)
    good = [] if signers is None or not signers.is_file() else approvals_of(written, signers, operators, now)[0]
    return Ready(experiments, opening, good)
