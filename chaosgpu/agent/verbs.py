# SPDX-License-Identifier: Apache-2.0
"""The verbs: each takes one checked request and answers one JSON object. Readings are imported when asked for."""

from typing import Callable, Dict, FrozenSet, List, Optional, Tuple

from chaosgpu.agent import halt, values
from chaosgpu.agent.errors import AgentError, BadRequest
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.lease import apply
from chaosgpu.agent.listing import Verified, Verifier, ended_line, expires_in_s, lease_line
from chaosgpu.agent.mend import mend
from chaosgpu.agent.order import parse_order
from chaosgpu.agent.prune import prune
from chaosgpu.agent.record import ENDED, OPEN, State
from chaosgpu.agent.renewal import renew
from chaosgpu.agent.revert import revert
from chaosgpu.agent.store import Damaged
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["CHANGING", "VERBS", "Verb"]

Verb = Callable[[JsonMapping, Host], JsonObject]
_LONGEST_TTL_S = 7 * 86400.0


def _apply(request: JsonMapping, host: Host) -> JsonObject:
    order = parse_order(request)
    state = apply(host, order)
    undo = host.folder(order.lease).undo_record()
    fault = host.fault(order.fault)
    answer: JsonObject = {
        "host": host.name,
        "lease": order.lease,
        "run": state.run,
        "fault": state.fault,
        "state": state.state,
        "claims": list(state.claims),
        "plane": fault.plane,
        "tier": fault.tier,
        "fidelity": fault.fidelity,
        "prior": {} if undo is None else undo.prior,
        "observed": state.observed,
        "expires_in_s": expires_in_s(host, state),
        "boottime_s": host.clock.boottime_s(),
    }
    if state.skew_s is not None:
        answer["inject_skew_s"] = state.skew_s
    if state.granted:
        answer["granted"] = state.granted
    return answer


def _undo(request: JsonMapping, host: Host) -> JsonObject:
    asked = [key for key in ("lease", "run", "all") if request.get(key) not in (None, False)]
    if len(asked) != 1:
        raise BadRequest('undo takes one of "lease", "run" and "all": true; nothing is undone by default.')
    if asked == ["lease"]:
        lease = values.text(request, "lease")
        state = host.folder(lease).seen()
        return {"leases": [ended_line(lease, _bury(host, lease) if state is None else _end(host, lease, "undo"))]}
    run = None if values.flag(request, "all", default=False) else values.text(request, "run")
    return {"leases": [ended_line(lease, _end(host, lease, "undo")) for lease, _ in _known(host, run)]}


def _bury(host: Host, lease: str) -> State:
    """Leave a tombstone for a lease that never arrived, so that it is refused if it comes late."""
    folder = host.folder(lease)
    folder.make()
    with folder.lock():
        if folder.seen() is None:
            why = "it was undone before it arrived on this host"
            folder.create(folder.stamped(State("tombstone", boot=host.boot, reason=why, ended_by="undo")))
    return _end(host, lease, "undo")


def _end(host: Host, lease: str, ended_by: str, reason: Optional[str] = None) -> State:
    """Undo one lease; one that another process works on is told as it stands, and does not keep the rest waiting."""
    folder = host.folder(lease)
    try:
        return revert(host, folder, ended_by, reason, even_stuck=True)
    except AgentError as error:
        state = _seen(host, lease) or State("stuck")
        return State(state.state, fault=state.fault, run=state.run, reason=str(error), ended_by=state.ended_by)


def _known(host: Host, run: Optional[str]) -> List[Tuple[str, State]]:
    """Return the leases of a run with those that have ended, or without a run all that have not."""
    found = []
    for lease in host.home.lease_ids():
        state = _seen(host, lease)
        if state is not None and (state.run == run if run is not None else state.state in OPEN):
            found.append((lease, state))
    return found


def _seen(host: Host, lease: str) -> Optional[State]:
    """Return how a lease stands; one that cannot be read is told as stuck, and keeps no other waiting."""
    try:
        return host.folder(lease).seen()
    except AgentError as error:
        return State("stuck", reason=str(error))


def _mended(host: Host, lease: str, seen: State) -> State:
    try:
        return mend(host, host.folder(lease)) or seen
    except AgentError as error:
        return State("stuck", seen.fault, seen.run, reason=str(error))


def _renew(request: JsonMapping, host: Host) -> JsonObject:
    ttl_s = values.number(request, "ttl_s", 0.1, _LONGEST_TTL_S)
    leases = request.get("leases")
    if (leases is None) == (request.get("run") is None):
        raise BadRequest('renew takes one of "run" and "leases".')
    if leases is None:
        named = [lease for lease, state in _known(host, values.text(request, "run")) if state.state not in ENDED]
    elif isinstance(leases, list) and all(isinstance(lease, str) for lease in leases):
        named = [str(lease) for lease in leases]
    else:
        raise BadRequest(f"leases must be a list of lease ids, not {leases!r}.")
    return {"leases": renew(host, named, ttl_s)}


def _list(request: JsonMapping, host: Host) -> JsonObject:
    verify = values.flag(request, "verify", default=False)
    verifier = Verifier(host)
    lines: List[JsonObject] = []
    try:
        for lease, seen in _known(host, values.optional_text(request, "run")):
            state = _mended(host, lease, seen)
            again = verifier.verify(lease, state) if verify else Verified()
            lines.append(lease_line(host, lease, state, again))
    finally:
        verifier.close()
    found = halt.latched(host)
    return {"leases": [*lines], "halted": None if found is None else dict(found)}


def _sweep(_: JsonMapping, host: Host) -> JsonObject:
    lines = []
    for lease in host.home.lease_ids():
        before = _seen(host, lease)
        if before is None:
            continue
        state = _mended(host, lease, before)
        if state.state != before.state or state.state == "stuck":
            lines.append(ended_line(lease, state))
    prune(host)
    return {"leases": [*lines]}


def _halt(request: JsonMapping, host: Host) -> JsonObject:
    by, reason = values.text(request, "by"), values.text(request, "reason")
    why = f"the host was halted by {by}: {reason}"
    try:
        found = halt.latch(host, by, reason)
    finally:  # what is in force ends all the same where the switch cannot be turned
        lines = [ended_line(lease, _end(host, lease, "halt", why)) for lease, _ in _known(host, None)]
    return {"halted": found, "leases": [*lines]}


def _resume(request: JsonMapping, host: Host) -> JsonObject:
    return {"was": halt.release(host, values.text(request, "by"), values.text(request, "reason"))}


def _record(request: JsonMapping, host: Host) -> JsonObject:
    lease = values.text(request, "lease")
    folder = host.folder(lease)
    state = folder.seen()
    if state is None:
        raise BadRequest(f"There is no lease {lease} on this host.")
    return {
        "host": host.name,
        "lease": lease,
        "state": state.to_json(),
        "undo": _undo_as_json(folder),
        "holder_report": folder.report(),
        "history": list(state.history),
    }


def _undo_as_json(folder: LeaseFolder) -> Optional[JsonObject]:
    try:
        undo = folder.undo_record()
    except Damaged:
        return None  # the state says so
    return None if undo is None else undo.to_json()


def _reading(name: str) -> Verb:
    def read(request: JsonMapping, host: Host) -> JsonObject:
        from chaosgpu.agent.readings import verbs as readings  # noqa: PLC0415 (only readings need them)

        answer: JsonObject = getattr(readings, name)(request, host)
        return answer

    return read


# Each verb with the keys that its request may have besides "protocol" and "operator".
VERBS: Dict[str, Tuple[Verb, FrozenSet[str]]] = {
    "apply": (
        _apply,
        frozenset({"lease", "fault", "params", "ttl_s", "max_duration_s", "run", "inject_at", "stop_when", "approval"}),
    ),
    "undo": (_undo, frozenset({"lease", "run", "all"})),
    "renew": (_renew, frozenset({"run", "leases", "ttl_s"})),
    "list": (_list, frozenset({"run", "verify"})),
    "sweep": (_sweep, frozenset()),
    "halt": (_halt, frozenset({"by", "reason"})),
    "resume": (_resume, frozenset({"by", "reason"})),
    "record": (_record, frozenset({"lease"})),
    "read": (_reading("read"), frozenset({"reading", "params"})),
    "facts": (_reading("facts"), frozenset()),
    "doctor": (_reading("doctor"), frozenset()),
}
CHANGING = frozenset({"apply", "undo", "renew", "sweep", "halt", "resume"})
