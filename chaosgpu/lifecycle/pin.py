# SPDX-License-Identifier: Apache-2.0
"""Whether each host's pin was in force to the end: one that went back by itself leaves an experiment without it."""

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.values import JsonObject, objects
from chaosgpu.lifecycle.course import PIN_FAULT, pin_lease, pin_run
from chaosgpu.lifecycle.step import Stage

__all__ = ["why_not_pinned"]

_ASK_S = 60.0


def why_not_pinned(stage: Stage) -> list[str]:
    """Ask each pinned host for its lease; one that cannot say is not known to have held it."""
    drill = stage.course.drill
    request: JsonObject = {"run": pin_run(drill), "verify": True}
    found: list[str] = []
    for host, answer in ask_everywhere(_pinned(stage), "list", request, _ASK_S).items():
        why = str(answer) if isinstance(answer, ChaosGpuError) else _why_not(answer, pin_lease(drill))
        if why is not None:
            found.append(f"the pin of {host} was not in force to the end: {why}")
            stage.course.note("fault.unverified", host=host, lease=pin_lease(drill), fault=PIN_FAULT, reason=why)
    return found


def _pinned(stage: Stage) -> list[str]:
    """Return the hosts that hold a lease for their pin; one that was as wanted already holds none."""
    course = stage.course
    return [host for host, life in course.lives.items() if "pin" in life.sure and course.may_hold_pin(host)]


def _why_not(answer: JsonObject, name: str) -> str | None:
    held = next((one for one in objects(answer, "leases") if one.get("lease") == name), None)
    if held is None:
        return "the host does not know its lease"
    if held.get("state") != "active":
        ended_by = held.get("ended_by")
        how = "within_s was over" if ended_by == "deadline" else f"it was ended by {ended_by or 'nobody'}"
        return f"its lease is {held.get('state')}, {how}"
    return None if held.get("verified") is not False else "its effect is gone"
