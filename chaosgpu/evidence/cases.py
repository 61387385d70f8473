# SPDX-License-Identifier: Apache-2.0
"""What a run was to show, claim by claim, and whether it did: what JUnit and the in-toto statement list."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from chaosgpu.evidence.story import LeaseTimes, Story

__all__ = ["Case", "cases"]


@dataclass(frozen=True)
class Case:
    """One claim. `holds` is None where it is not known."""

    name: str
    holds: bool | None
    said: str = ""
    seconds: float = 0.0


def cases(story: Story) -> list[Case]:
    """List the claims of a run; the last is its verdict."""
    return [*_hypothesis(story), *_faults(story), *_hosts(story), *_actions(story), _verdict(story)]


def _hypothesis(story: Story) -> Iterator[Case]:
    during = [step for step in story.hypothesis if step.what == "during"]
    for when in ("before", "after"):
        found = [step for step in story.hypothesis if step.what == when]
        met = found[-1].met if found else None
        said = "" if met else _broken(story, found[-1].at) if found else "it was not checked"
        yield Case(f"the steady state holds {when} the method", met, said)
    if during:
        broken = [step for step in during if step.met is not True]
        said = f"{len(broken)} of {len(during)} checks did not hold, the first at {broken[0].at}" if broken else ""
        yield Case("the steady state holds during the method", not broken, said)


def _broken(story: Story, at: str) -> str:
    """Say which probes did not hold in the check of the steady state that ended then."""
    before = max((step.at for step in story.hypothesis if step.at < at), default="")
    named = [check for check in story.checks if check.phase == "hypothesis" and before < check.at <= at]
    return "; ".join(
        f"'{one.name}' failed: {one.error}" if one.error else f"'{one.name}' gave {json.dumps(one.output)}"
        for one in named
        if not one.held
    )


def _faults(story: Story) -> Iterator[Case]:
    for lease in story.leases:
        named = f"{lease.fault} on {lease.host} ({lease.lease})"
        seen = lease.active is not None and lease.unverified is None
        yield Case(f"{named} was verified in force", seen, "" if seen else lease.unverified or _why(lease))
        back = None if lease.open and lease.state != "stuck" else lease.state != "stuck"
        yield Case(f"{named} was put back", back, "" if back else _why(lease))


def _why(lease: LeaseTimes) -> str:
    return lease.reason or f"its lease is {lease.state}"


def _hosts(story: Story) -> Iterator[Case]:
    last = {step.host: step for step in story.on_hosts}
    for host, step in sorted(last.items()):
        yield Case(f"{host} came back as it was", step.met, "" if step.met else step.what)


def _actions(story: Story) -> Iterator[Case]:
    for check in story.checks:
        if check.kind == "action":
            well = check.status == "succeeded"
            yield Case(
                f"{check.phase}: {check.name}", well, "" if well else check.error or check.status, check.duration_s
            )


def _verdict(story: Story) -> Case:
    holds = {"passed": True, "deviated": False, "unsafe": False}.get(story.verdict or "")
    return Case(f"verdict: {story.verdict or 'none'}", holds, story.reason)
