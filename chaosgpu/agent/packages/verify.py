# SPDX-License-Identifier: Apache-2.0
"""Whether a host is fit for use: its packages, the module that runs, its GPUs; each finding is a sentence."""

from typing import List

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.packages import asked, drills, lifecycle
from chaosgpu.agent.packages.facts import look
from chaosgpu.agent.packages.guard import gaps
from chaosgpu.agent.packages.running import module_findings
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["verify"]


def verify(request: JsonMapping, tools: Tools) -> JsonObject:
    """Say what is wrong; `against`: the lock, with its guards, or the drill's snapshot."""
    against = request.get("against", "lock")
    facts = look(tools)
    wrong = [f"{facts.manager} has left work half-done: {', '.join(facts.unfinished[:5])}"] if facts.unfinished else []
    if against == "lock":
        wrong += gaps(tools, asked.versions(request))
    elif against == "snapshot":
        found = lifecycle.compare(request, tools)
        wrong += [] if found["as_before"] else [str(found["why"])]
    else:
        raise BadRequest(f"against is lock or snapshot, not {against!r}.")
    mismatches, unknown = module_findings(tools, facts)
    wrong += mismatches
    _gpus(request, tools, wrong, unknown)
    return {"ok": not wrong, "wrong": [*wrong], "unknown": [*unknown], "module": facts.module}


def _gpus(request: JsonMapping, tools: Tools, wrong: List[str], unknown: List[str]) -> None:
    """Compare the GPUs that are there now with those that the snapshot has."""
    error = values.optional_text(request, "gpus_error")
    if error is not None:
        unknown.append(f"the GPUs: {error}")
    if "drill" not in request or ("gpus" not in request and error is None):
        return
    folder = drills.folder_of(tools, drills.drill_of(request))
    before, now = asked.texts(drills.known(folder).get("gpus")), asked.texts(request.get("gpus"))
    if not before:
        unknown.append("the GPUs before: the snapshot has none")
        return
    gone, new = sorted({*before} - {*now}), sorted({*now} - {*before})
    if gone:
        wrong.append(f"of {len(before)} GPUs {len(gone)} do not answer any more: {', '.join(gone)}")
    if new:
        wrong.append(f"{', '.join(new)} is new: the snapshot was taken without it")
