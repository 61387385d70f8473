# SPDX-License-Identifier: Apache-2.0
"""What a run's ledger tells, in the form in which reports, tables and checks ask for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["Check", "LeaseTimes", "Step", "Story", "tell"]

_HOST_CAME_BACK = "host.restored"
_NOT_AS_IT_WAS = {
    "host.differs": "is not as it was",
    "host.quarantined": "was quarantined",
    "host.unfinished": "was not finished",
}


@dataclass
class LeaseTimes:
    """One fault on one host, with the controller's time of each thing that happened to it."""

    lease: str
    host: str
    fault: str = ""
    reserved: str | None = None
    active: str | None = None
    verified_again: int = 0
    reverting: str | None = None
    ended: str | None = None
    state: str = "reserved"
    by: str | None = None
    ended_by: str | None = None
    max_duration_s: float | None = None
    params: JsonObject = field(default_factory=dict)
    observed: JsonObject = field(default_factory=dict)
    restored: JsonObject = field(default_factory=dict)
    reason: str | None = None
    unverified: str | None = None
    # Whose approvals the host itself has judged and found good.
    approved_by: tuple[str, ...] = ()
    host_history: list[JsonValue] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Tell whether the ledger leaves it open."""
        return self.state not in ("clean", "refused", "never in force")


@dataclass(frozen=True)
class Check:
    """One activity that ended."""

    at: str
    name: str
    kind: str
    phase: str
    status: str
    duration_s: float
    output: JsonValue
    error: str | None

    @property
    def held(self) -> bool:
        """Whether it came to its end and did not answer false."""
        return self.status == "succeeded" and self.output is not False


@dataclass(frozen=True)
class Step:
    """One check of the steady state, or one thing that happened to a host."""

    at: str
    what: str
    met: bool | None
    host: str = ""


@dataclass(frozen=True)
class Story:
    """A run from its plan to its end; what the ledger does not say is empty or None."""

    run: str = ""
    title: str = ""
    change_id: str | None = None
    planned: str | None = None
    started: str | None = None
    finished: str | None = None
    verdict: str | None = None
    reason: str = ""
    lost: bool = False
    dry: str | None = None
    last: str | None = None
    experiment_sha256: str | None = None
    hosts: tuple[str, ...] = ()
    leases: tuple[LeaseTimes, ...] = ()
    checks: tuple[Check, ...] = ()
    hypothesis: tuple[Step, ...] = ()
    on_hosts: tuple[Step, ...] = ()
    signals: tuple[str, ...] = ()
    unfinished_steps: tuple[str, ...] = ()


def tell(entries: Sequence[JsonObject]) -> Story:
    """Follow a ledger."""
    planned, started, finished = (_first(entries, f"run.{word}") for word in ("planned", "started", "finished"))
    leases = _leases(entries)
    return Story(
        run=_text(entries[0], "run") or "" if entries else "",
        title=_text(planned, "title") or "",
        change_id=_text(planned, "change_id"),
        planned=_text(planned, "at"),
        started=_text(started, "at"),
        finished=_text(finished, "at"),
        verdict=_text(finished, "verdict"),
        reason=_text(finished, "reason") or "",
        lost=finished.get("lost") is True,
        dry=_text(planned, "dry"),
        last=_text(entries[-1], "at") if entries else None,
        experiment_sha256=_text(planned, "experiment_sha256"),
        hosts=tuple(sorted(_hosts(entries))),
        leases=tuple(leases),
        checks=tuple(_check(entry) for entry in entries if entry.get("type") == "probe"),
        hypothesis=tuple(
            Step(str(entry.get("at")), str(entry.get("when")), _bool(entry.get("met")))
            for entry in entries
            if entry.get("type") == "hypothesis"
        ),
        on_hosts=tuple(step for entry in entries if (step := _on_host(entry)) is not None),
        signals=tuple(str(entry.get("name")) for entry in entries if entry.get("type") == "signal"),
        unfinished_steps=tuple(_unfinished(entries)),
    )


def _first(entries: Sequence[JsonObject], kind: str) -> JsonObject:
    return next((entry for entry in entries if entry.get("type") == kind), {})


def _text(entry: Mapping[str, JsonValue], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) else None


def _bool(value: JsonValue) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _hosts(entries: Sequence[JsonObject]) -> set[str]:
    """Collect every host that the ledger names."""
    found = {str(entry["host"]) for entry in entries if isinstance(entry.get("host"), str)}
    for entry in entries:
        chosen = entry.get("hosts") if entry.get("type") in ("run.planned", "run.chosen") else None
        for names in chosen.values() if isinstance(chosen, dict) else ():
            found |= {str(name) for name in names} if isinstance(names, list) else set()
    return found


def _leases(entries: Sequence[JsonObject]) -> list[LeaseTimes]:
    """Follow each lease; a lifecycle has one of the same name on each of its hosts."""
    found: dict[tuple[str, str], LeaseTimes] = {}
    for entry in entries:
        kind, name, host = str(entry.get("type")), entry.get("lease"), str(entry.get("host") or "")
        if not isinstance(name, str) or not (kind.startswith("lease.") or kind == "fault.unverified"):
            continue
        _follow(found.setdefault((name, host), LeaseTimes(name, host)), kind.partition(".")[2], entry)
    return list(found.values())


def _follow(lease: LeaseTimes, what: str, entry: JsonObject) -> None:
    """Take up one line about a lease."""
    at = str(entry.get("at"))
    lease.fault = _text(entry, "fault") or lease.fault
    lease.reason = _text(entry, "reason") or lease.reason
    lease.max_duration_s = _number(entry.get("max_duration_s")) or lease.max_duration_s
    for name in ("params", "observed", "restored"):
        value = entry.get(name)
        if isinstance(value, dict):
            setattr(lease, name, value)
    lease.approved_by = _approvers(entry.get("granted")) or lease.approved_by
    if what == "unverified":
        lease.unverified = _text(entry, "reason") or "it could not be seen"
    elif what == "active" and lease.active is not None:
        lease.verified_again += 1
    elif what in ("reserved", "active", "reverting"):
        setattr(lease, what, at)
        lease.state = what
        lease.by = _text(entry, "by") or lease.by
    elif what in ("clean", "refused", "stuck"):
        lease.ended, lease.state = at, "never in force" if entry.get("never_in_force") else what
        lease.ended_by = _text(entry, "ended_by")
        history = entry.get("host_history")
        lease.host_history = history if isinstance(history, list) else []


def _approvers(granted: JsonValue) -> tuple[str, ...]:
    """Return whose approval a host says that it has judged."""
    signed = granted.get("approved_by") if isinstance(granted, dict) else None
    return tuple(str(one.get("by")) for one in signed if isinstance(one, dict)) if isinstance(signed, list) else ()


def _check(entry: JsonObject) -> Check:
    """Read one activity."""
    output = entry.get("output")
    if "output" not in entry:
        output = f"{entry.get('output_bytes')} bytes, in the journal"
    return Check(
        at=str(entry.get("at")),
        name=str(entry.get("name")),
        kind=str(entry.get("kind")),
        phase=str(entry.get("phase")),
        status=str(entry.get("status")),
        duration_s=_number(entry.get("duration_s")) or 0.0,
        output=output,
        error=_text(entry, "error"),
    )


def _on_host(entry: JsonObject) -> Step | None:
    """Read what became of a host in a lifecycle."""
    kind, host = str(entry.get("type")), str(entry.get("host"))
    if kind == _HOST_CAME_BACK:
        compared = entry.get("compared") is not False
        return Step(
            str(entry.get("at")), "came back as it was" if compared else "had nothing to compare", compared, host
        )
    said = _NOT_AS_IT_WAS.get(kind)
    return None if said is None else Step(str(entry.get("at")), said, met=False, host=host)


def _unfinished(entries: Sequence[JsonObject]) -> list[str]:
    """Name the steps of a lifecycle and the playbooks that were begun and have no end."""
    open_steps: dict[str, str] = {}
    for entry in entries:
        kind = entry.get("type")
        if kind in ("lifecycle.step", "playbook.begun"):
            name = f"the step {entry.get('step')}" if kind == "lifecycle.step" else f"the playbook {entry.get('file')}"
            open_steps[f"{name} {entry.get('way')}"] = f"{name}, begun at {entry.get('at')}"
        elif kind == "lifecycle.done":
            open_steps.pop(f"the step {entry.get('step')} {entry.get('way')}", None)
        elif kind == "playbook.done" and entry.get("undo") is not True:
            open_steps.pop(f"the playbook {entry.get('file')} {entry.get('way')}", None)
    return list(open_steps.values())
