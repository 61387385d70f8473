# SPDX-License-Identifier: Apache-2.0
"""The way there: drain, baseline, snapshot, pin, verify; the first step that fails on a host ends it for all."""

from collections.abc import Sequence

from chaosgpu.lifecycle.baseline import take_baseline
from chaosgpu.lifecycle.plan import STEPS
from chaosgpu.lifecycle.step import Stage

__all__ = ["go_there"]


def go_there(stage: Stage, hosts: Sequence[str]) -> str | None:
    """Take the steps of the plan; return why the method must not be played, or None.

    The baseline is taken out of service and before anything else is changed: so is the comparison at the end.
    """
    for step in STEPS:
        if step == "snapshot":
            silent = take_baseline(stage.course, hosts)
            if silent:
                return _sentence("baseline", silent)
        if step not in stage.plan.steps:
            continue
        failed = {one.host: one.said for one in stage.play(step, hosts, "there").values() if not one.ok}
        if failed:
            return _sentence(step, failed)
    return None


def _sentence(step: str, failed: dict[str, str]) -> str:
    told = "; ".join(f"{host}: {said or 'no reason given'}" for host, said in failed.items())
    return f"the method was not played, since {step} did not go well on {', '.join(failed)}: {told}"
