# SPDX-License-Identifier: Apache-2.0
"""A drill's packages from its snapshot to the comparison at its end: each may be asked again, or asked to only look.

With `"check": true` an answer is what would be: `changed`, `before` and `after` are the same, and nothing is touched.
"""

from pathlib import Path
from typing import Dict, List, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import AgentError, BadRequest, Refused
from chaosgpu.agent.packages import asked, drills
from chaosgpu.agent.packages.change import not_there, put_in
from chaosgpu.agent.packages.facts import Facts, look
from chaosgpu.agent.packages.fingerprint import digest_of
from chaosgpu.agent.packages.guard import gaps
from chaosgpu.agent.packages.judge import Verdict, judge
from chaosgpu.agent.packages.locks import wait_free
from chaosgpu.agent.packages.plan import Plan, plan, refuse_harm, refuse_unfinished, with_same
from chaosgpu.agent.packages.restore import restore
from chaosgpu.agent.packages.running import module_findings
from chaosgpu.agent.packages.snapshot import Snapshot, load, shed, take
from chaosgpu.agent.packages.stage import refuse_full, refuse_memory
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.store import Damaged, read_document
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["compare", "install", "manifest", "put_back", "show", "snapshot"]

_LOCK_S = 5.0
_WITHIN_S = 900.0


def show(request: JsonMapping, tools: Tools) -> JsonObject:
    """Tell what it would take to have these packages so, with `guard` also what keeps them from moving."""
    wanted = asked.versions(request)
    if "drill" in request:
        _folder(request, tools)
    facts = look(tools)
    refuse_unfinished(facts)
    found = _planned(request, tools, facts)
    open_to = gaps(tools, wanted) if values.flag(request, "guard", default=False) else []
    todo = bool(found.moving or open_to)
    return {**found.to_json(), "gaps": [*open_to], "todo": todo, **_texts(found, facts, wanted, guarded=bool(open_to))}


def snapshot(request: JsonMapping, tools: Tools) -> JsonObject:
    """Keep a drill's packages of both sides, and how the host stands, before anything changes; once a drill."""
    drill, wanted = drills.drill_of(request), asked.versions(request)
    folder = drills.folder_of(tools, drill)
    meant: JsonObject = {"packages": {**wanted}, "may_remove": [*asked.names(request, "may_remove")]}
    before = drills.known(folder)
    if before:
        if {key: before.get(key) for key in meant} != meant:
            raise Refused(f"Drill {drill} has a snapshot for other packages on this host: give the new drill a new id.")
        return _kept(load(tools, folder), drill, changed=False)
    drills.permit(tools)
    drills.refuse_busy(tools)
    if tools.root == "/":
        refuse_memory(drills.HOME)
    wait_free(tools, _LOCK_S)
    facts = look(tools)
    refuse_unfinished(facts)
    found = with_same(_planned(request, tools, facts), facts, wanted)
    if values.flag(request, "check", default=False):
        refuse_full(tools, folder, _both(found))
        return {"changed": True, "drill": drill, "folder": str(folder), **_to_keep(found)}
    taken = take(tools, folder, found, facts)
    drills.note(folder, {**meant, "drill": drill, "gpus": [*_texts_of(request, "gpus")]})
    drills.forget_old(folder)
    return _kept(taken, drill, changed=True)


def manifest(request: JsonMapping, tools: Tools) -> JsonObject:
    """Give the snapshot itself, without package files, for the controller's record."""
    folder = _folder(request, tools)
    return {"drill": drills.known(folder), "snapshot": read_document(str(folder), "snapshot") or {}}


def compare(request: JsonMapping, tools: Tools) -> JsonObject:
    """Compare the host with the drill's snapshot; what somebody else changed meanwhile is a difference here.

    `done`: the drill is over, so the package files go where the host is as it was.
    """
    folder = _folder(request, tools)
    taken = load(tools, folder)
    found = judge(tools, taken)
    if values.flag(request, "done", default=False) and _as_before(found):
        shed(taken)
        drills.over(folder)
    return {**found.values, "as_before": _as_before(found), "why": _why(found)}


def put_back(request: JsonMapping, tools: Tools) -> JsonObject:
    """Go back to the drill's snapshot with what it has kept, without a network."""
    folder = _folder(request, tools)
    taken = load(tools, folder)
    found = judge(tools, taken)
    differences = found.values["differences"]
    answer: JsonObject = {"before": "\n".join(asked.texts(differences)), "after": ""}
    if values.flag(request, "check", default=False):
        return {**answer, "changed": bool(differences), "as_before": _as_before(found), "why": _why(found)}
    changed = False
    if differences:
        drills.permit(tools)
        drills.refuse_busy(tools)
        was = found.values["fingerprint"]
        restore(tools, taken, asked.within(request, _WITHIN_S))
        found = judge(tools, taken)
        changed = found.values["fingerprint"] != was
    if _as_before(found):
        shed(taken)
        drills.over(folder)
    return {**answer, **found.values, "changed": changed, "as_before": _as_before(found), "why": _why(found)}


def install(request: JsonMapping, tools: Tools) -> JsonObject:
    """Bring packages to these versions for good, all of them or none; one that was broken off is put back first."""
    wanted, check = asked.versions(request), values.flag(request, "check", default=False)
    folder = drills.folder_of(tools, drills.PROVISION)
    within_s = asked.within(request, _WITHIN_S) / 2  # as much again for the way back
    torn = bool(drills.known(folder)) and not drills.is_over(folder)
    if torn and check:
        return {"changed": True, "before": "an earlier install was broken off", "after": "put back, then installed"}
    if torn:
        drills.permit(tools)
        _back_to(tools, load(tools, folder), within_s)
        drills.over(folder)
    facts = look(tools)
    refuse_unfinished(facts)
    found = _planned(request, tools, facts)
    answer: JsonObject = {**found.to_json(), **_texts(found, facts, wanted, guarded=False)}
    if not found.moving:
        return {**answer, "changed": torn, **_running(tools)}
    drills.permit(tools, lasting=True)
    drills.refuse_busy(tools)
    wait_free(tools, _LOCK_S)
    if check:
        refuse_full(tools, folder, _both(found))
        return {**answer, "changed": True, **_running(tools)}
    taken = take(tools, folder, found, facts)
    drills.note(folder, {"packages": {**wanted}})
    try:
        put_in(tools, taken, within_s)
        missing = not_there(tools, taken)
        if missing:
            raise Refused(f"apt went through, and {'; '.join(missing[:5])}.")
    except AgentError as error:
        _back_to(tools, taken, within_s, f"{error} ")
        drills.over(folder)
        error.args = (f"{error} Everything was put back.",)
        raise
    shed(taken)
    drills.over(folder)
    return {**answer, "changed": True, **_running(tools)}


def _running(tools: Tools) -> JsonObject:
    facts = look(tools)
    return {"module": facts.module, "reboot_needed": bool(module_findings(tools, facts)[0])}


def _back_to(tools: Tools, taken: Snapshot, within_s: float, why: str = "") -> None:
    restore(tools, taken, within_s)
    found = judge(tools, taken)
    if not found.as_before:
        raise Refused(f"{why}It could not be put back: {found.by_hand}")


def _planned(request: JsonMapping, tools: Tools, facts: Facts) -> Plan:
    found = plan(tools, facts, asked.versions(request))
    refuse_harm(found, facts, asked.names(request, "may_remove"))
    return found


def _folder(request: JsonMapping, tools: Tools) -> Path:
    drill = drills.drill_of(request)
    folder = drills.folder_of(tools, drill)
    if not drills.known(folder):
        raise Damaged(
            f"There is no snapshot of drill {drill} on this host, so nobody knows how it was: take one first."
        )
    return folder


def _kept(taken: Snapshot, drill: str, *, changed: bool) -> JsonObject:
    found = Plan(taken.changes)
    answer: JsonObject = {"changed": changed, "drill": drill, "folder": str(taken.folder), "module": taken.module}
    texts = _to_keep(found) if changed else {}
    return {**answer, "fingerprint": digest_of(taken.fingerprint), **texts}


def _to_keep(found: Plan) -> JsonObject:
    rows = [f"{one.name} {one.before or '-'} -> {one.after or '-'}" for one in found.changes]
    return {"names": [one.name for one in found.changes], "before": "", "after": "\n".join(rows)}


def _both(found: Plan) -> List[Tuple[str, str]]:
    sides = ((one.name, version) for one in found.moving for version in (one.before, one.after))
    return [(name, version) for name, version in sides if version is not None]


def _texts(found: Plan, facts: Facts, wanted: Dict[str, str], *, guarded: bool) -> JsonObject:
    """Return before and after, one package a line."""
    sides: List[List[str]] = [[], []]
    for one in with_same(found, facts, wanted).changes:
        held = " hold" if one.name in facts.held() else ""
        if one.before is not None:
            sides[0].append(f"{one.name} {one.before}{held}")
        if one.after is not None:
            sides[1].append(f"{one.name} {one.after}{' hold' if guarded else held}")
    return {"before": "\n".join(sides[0]), "after": "\n".join(sides[1])}


def _texts_of(request: JsonMapping, key: str) -> List[JsonValue]:
    found = request.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadRequest(f"{key} must be a list of texts, not {found!r}.")
    return found


def _as_before(found: Verdict) -> bool:
    return found.as_before and not found.left_alone


def _why(found: Verdict) -> str:
    return " ".join(part for part in (found.by_hand, "; ".join(found.left_alone)) if part)
