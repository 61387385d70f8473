# SPDX-License-Identifier: Apache-2.0
"""What a lease is, as data and never as code: the undo record, written once, and the state, written at each step."""

from dataclasses import asdict, dataclass, field, replace
from typing import Optional, Tuple, Type, TypeVar

from chaosgpu.agent import typed
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
_Kind = TypeVar("_Kind", bound="_Record")


@dataclass(frozen=True)
class _Record:
    """What both have in common: one form on disk, and no other is read."""

    def to_json(self) -> JsonObject:
        """Return it as JSON."""
        return {"form": FORM, **asdict(self)}

    @classmethod
    def from_json(cls: Type[_Kind], source: JsonMapping) -> _Kind:
        """Read it back; Damaged where it is of another form."""
        if source.get("form") != FORM:
            raise Damaged(f"The record has form {source.get('form')!r}; this agent reads form {FORM}.")
        try:
            return typed.read(cls, source)
        except BadRequest as error:
            raise Damaged(f"The record cannot be understood: {error}") from error


@dataclass(frozen=True)
class Undo(_Record):
    """What any later process needs to put things back; on disk before anything is changed, and never altered."""

    lease: str
    fault: str
    params: JsonObject
    prior: JsonObject
    holds: bool  # whether a holder process belongs to it
    environment: JsonObject
    library: Optional[JsonObject]
    stop_when: JsonObject = field(default_factory=dict)  # as `stops.begin` made it


@dataclass(frozen=True)
class State(_Record):
    """Where a lease is, who holds what for it, and how it got there. Times are CLOCK_BOOTTIME of `boot`."""

    state: str
    fault: str = ""
    run: str = ""
    request_sha256: str = ""
    operator: str = ""
    granted: JsonObject = field(default_factory=dict)  # as `approved` tells it
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

    def left_s(self, boot: Boot, boottime_s: float) -> float:
        """Return the seconds until its time is over: an earlier start of this host, the deadline, or the hard end."""
        return max(0.0, min(self.deadline_s, self.end_s) - boottime_s) if boot == self.boot else 0.0

    def over(self, boot: Boot, boottime_s: float) -> bool:
        """Tell whether its time is over."""
        return self.left_s(boot, boottime_s) <= 0.0

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

    @classmethod
    def from_json(cls, source: JsonMapping) -> "State":
        """Read it back; Damaged also where it is in a state that nobody knows."""
        found = super().from_json(source)
        if found.state not in OPEN + ENDED:
            raise Damaged(f"The lease is in a state that this agent does not know: {found.state}.")
        return found
