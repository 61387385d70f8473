# SPDX-License-Identifier: Apache-2.0
"""What a lease is, as data and never as code: the undo record, written once, and the state, written at each step."""

from dataclasses import asdict, dataclass, field, replace
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.clock import Boot
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.process import Identity
from chaosgpu.agent.store import Damaged
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["ENDED", "ENDED_BY", "FORM", "LIVE", "OPEN", "State", "Undo"]

FORM = 1
LIVE = ("armed", "active")
OPEN = ("reserved", "armed", "active", "reverting", "stuck")
ENDED = ("clean", "tombstone")
ENDED_BY = ("undo", "deadline", "halt", "unverified", "holder_died", "stop", "abandoned", "refused")
_MAX_TEXT = 600
_MOST_ENTRIES = 16


@dataclass(frozen=True)
class Undo:
    """What any later process needs to put things back; on disk before anything is changed, and never altered."""

    lease: str
    fault: str
    params: JsonObject
    prior: JsonObject
    holds: bool  # whether a holder process belongs to it
    environment: JsonObject
    library: Optional[JsonObject]
    stop_when: JsonObject = field(default_factory=dict)  # as `stops.begin` made it

    def to_json(self) -> JsonObject:
        """Return it as JSON."""
        return {"form": FORM, **asdict(self)}

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Undo":
        """Read it back; Damaged where it is of another form."""
        try:
            _same_form(source)
            return cls(
                lease=values.text(source, "lease"),
                fault=values.text(source, "fault"),
                params=values.mapping(source, "params"),
                prior=values.mapping(source, "prior"),
                holds=values.flag(source, "holds", default=False),
                environment=values.mapping(source, "environment"),
                library=None if source.get("library") is None else values.mapping(source, "library"),
                stop_when=values.mapping(source, "stop_when"),
            )
        except BadRequest as error:
            raise Damaged(f"The undo record cannot be understood: {error}") from error


@dataclass(frozen=True)
class State:
    """Where a lease is, who holds what for it, and how it got there. Times are CLOCK_BOOTTIME of `boot`."""

    state: str
    fault: str = ""
    run: str = ""
    request_sha256: str = ""
    operator: str = ""
    claims: Tuple[str, ...] = ()
    boot: Boot = field(default_factory=lambda: Boot("", 0))
    deadline_s: float = 0.0
    end_s: float = 0.0  # max_duration_s: renewals never go beyond it
    holder: Optional[Identity] = None
    observed: JsonObject = field(default_factory=dict)
    restored: JsonObject = field(default_factory=dict)
    left_alone: Tuple[str, ...] = ()
    reason: Optional[str] = None
    ended_by: Optional[str] = None
    renewals: int = 0
    skew_s: Optional[float] = None  # of the injection against `inject_at`
    history: Tuple[JsonObject, ...] = ()

    def over(self, boot: Boot, boottime_s: float) -> bool:
        """Tell whether its time has passed: an earlier start of this host, the deadline, or the hard end."""
        return boot != self.boot or boottime_s >= min(self.deadline_s, self.end_s)

    def expires_in_s(self, boot: Boot, boottime_s: float) -> float:
        """Seconds until the host undoes it by itself; 0 once it is not live any more."""
        if self.state not in LIVE or boot != self.boot:
            return 0.0
        return max(0.0, round(min(self.deadline_s, self.end_s) - boottime_s, 3))

    def moved(self, state: str, boottime_s: float, at: str, ended_by: Optional[str], reason: Optional[str]) -> "State":
        """Return it in the next state, with one more line of history stamped with the host's two clocks.

        Without a reason the last one stays; a new undo starts with its own.
        """
        reason = None if reason is None else reason[:_MAX_TEXT]
        ended_by = ended_by or self.ended_by
        entry: JsonObject = {"state": state, "boottime_s": round(boottime_s, 6), "at": at}
        entry.update({key: text for key, text in (("ended_by", ended_by), ("reason", reason)) if text is not None})
        history = self.history
        if len(history) >= _MOST_ENTRIES:  # a lease that was stuck many times: the beginning and the end tell most
            history = history[: _MOST_ENTRIES // 2] + history[1 - _MOST_ENTRIES // 2 :]
        lasting = reason if reason is not None or state == "reverting" else self.reason
        return replace(self, state=state, ended_by=ended_by, reason=lasting, history=(*history, entry))

    def to_json(self) -> JsonObject:
        """Return it as JSON."""
        return {"form": FORM, **asdict(self)}

    @classmethod
    def from_json(cls, source: JsonMapping) -> "State":
        """Read it back; Damaged where it is of another form."""
        try:
            _same_form(source)
            boot, holder = values.mapping(source, "boot"), source.get("holder")
            found = cls(
                state=values.text(source, "state"),
                fault=str(source.get("fault", "")),
                run=str(source.get("run", "")),
                request_sha256=str(source.get("request_sha256", "")),
                operator=str(source.get("operator", "")),
                claims=_texts(source, "claims"),
                boot=Boot(str(boot.get("boot_id", "")), values.whole(boot, "init_start", 0, 2**62)),
                deadline_s=values.number(source, "deadline_s", 0, 1e12),
                end_s=values.number(source, "end_s", 0, 1e12),
                holder=_identity(holder) if isinstance(holder, dict) else None,
                observed=values.mapping(source, "observed"),
                restored=values.mapping(source, "restored"),
                left_alone=_texts(source, "left_alone"),
                reason=values.optional_text(source, "reason"),
                ended_by=values.optional_text(source, "ended_by"),
                renewals=values.whole(source, "renewals", 0, 2**31),
                skew_s=None if source.get("skew_s") is None else values.number(source, "skew_s", -1e6, 1e6),
                history=_entries(source, "history"),
            )
        except BadRequest as error:
            raise Damaged(f"The state of the lease cannot be understood: {error}") from error
        if found.state not in OPEN + ENDED:
            raise Damaged(f"The lease is in a state that this agent does not know: {found.state}.")
        return found


def _same_form(source: JsonMapping) -> None:
    if source.get("form") != FORM:
        raise Damaged(f"The record has form {source.get('form')!r}; this agent reads form {FORM}.")


def _identity(source: JsonMapping) -> Identity:
    return Identity(values.whole(source, "pid", 1, 2**31), values.whole(source, "start_time", 0, 2**62))


def _texts(source: JsonMapping, key: str) -> Tuple[str, ...]:
    found = source.get(key)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise BadRequest(f"{key} must be a list of texts.")
    return tuple(str(item) for item in found)


def _entries(source: JsonMapping, key: str) -> Tuple[JsonObject, ...]:
    found = source.get(key)
    if not isinstance(found, list):
        raise BadRequest(f"{key} must be a list of objects.")
    return tuple(item for item in found if isinstance(item, dict))
