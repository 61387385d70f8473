# SPDX-License-Identifier: Apache-2.0
"""What a run proves of its plan, and what all runs of a drill together do. Pure but for the run's own record."""

from collections.abc import Sequence

from chaosgpu.drill.plan import Plan
from chaosgpu.drill.playing import Played
from chaosgpu.lease.history import PastLease, load
from chaosgpu.lease.verdict import Verdict

__all__ = ["judged", "worst"]


def judged(plan: Plan, played: Played) -> tuple[Verdict, str]:
    """Return a run's verdict and reason; a fault that was not planned proves nothing of the plan."""
    try:
        verdict = Verdict(played.verdict)
    except ValueError:
        verdict = Verdict.INCONCLUSIVE
    if played.directory is None or verdict is Verdict.UNSAFE:
        return verdict, played.reason
    leases = [one for one in load(played.directory).leases if not one.of_lifecycle and one.state != "refused"]
    strange = sorted({one.fault for one in leases} - {*plan.faults})
    if strange:
        return Verdict.INCONCLUSIVE, f"it put in {', '.join(strange)}, which the plan does not name"
    too_long = [one for one in leases if _longest_s(one) > plan.longest_fault_s]
    if too_long:
        one = too_long[0]
        return Verdict.INCONCLUSIVE, (
            f"it put in {one.fault} for up to {_longest_s(one):g} s, and the plan allows {plan.longest_fault_s}"
        )
    return verdict, played.reason


def _longest_s(lease: PastLease) -> float:
    return lease.max_duration_s or 0.0


def worst(ended: Sequence[tuple[Verdict, str]]) -> tuple[Verdict, str]:
    """Return the worst verdict with its reason; Verdict is in that order."""
    order = [*Verdict]
    return min(ended, key=lambda one: order.index(one[0]), default=(Verdict.INCONCLUSIVE, "nothing was played"))
