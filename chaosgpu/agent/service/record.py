# SPDX-License-Identifier: Apache-2.0
"""What a drain has taken and how it was before: on disk before it is touched, so that any process can put it back."""

from dataclasses import asdict, dataclass, field, replace
from typing import Dict, Tuple

from chaosgpu.agent import typed
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.service.order import Wanted
from chaosgpu.agent.store import Damaged
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["DRAINED", "DRAINING", "FORM", "IN_SERVICE", "RETURNING", "Record", "Taken"]

FORM = 1
IN_SERVICE, DRAINING, DRAINED, RETURNING = "in service", "draining", "drained", "returning"
_STATES = (DRAINING, DRAINED, RETURNING)
_STAGES = ("planned", "taking", "taken", "putting back", "back")


@dataclass(frozen=True)
class Taken:
    """One kind of thing that is taken, and how far that is.

    `planned`: not touched. `taking`: it may have been. `taken`: it was seen so. `putting back`: `plan` says what of it,
    and nobody judges again what somebody else has changed meanwhile. `back`: it was seen so.
    """

    kind: str
    prior: JsonObject
    stage: str = "planned"
    plan: JsonObject = field(default_factory=dict)
    left_alone: Tuple[str, ...] = ()

    @property
    def touched(self) -> bool:
        """Tell whether it may not be as it was."""
        return self.stage in ("taking", "taken", "putting back")


@dataclass(frozen=True)
class Record:
    """One drain, from before its first touch until everything of it is back."""

    drill: str
    reason: str
    by: str
    at: str
    state: str
    wanted: Wanted
    taken: Tuple[Taken, ...]

    def to_json(self) -> JsonObject:
        """Return it for the disk."""
        return {"form": FORM, **asdict(self), "wanted": self.wanted.to_json()}

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Record":
        """Read it back; Damaged where it is of another form."""
        if source.get("form") != FORM:
            raise Damaged(f"The drain's record has form {source.get('form')!r}; this agent reads form {FORM}.")
        try:
            found = typed.read(cls, source)
        except BadRequest as error:
            raise Damaged(f"The drain's record cannot be understood: {error}") from error
        if found.state not in _STATES or any(one.stage not in _STAGES for one in found.taken):
            raise Damaged(f"The drain is in a state that this agent does not know: {found.state}.")
        return found

    def sentence(self) -> str:
        """Say how the host stands, for which drill, and who has wanted it so."""
        return f"{self.state} for the drill {self.drill} ({self.by}, {self.at}: {self.reason})"

    def with_taken(self, changed: Taken) -> "Record":
        """Return it with one kind of thing changed."""
        return replace(self, taken=tuple(changed if one.kind == changed.kind else one for one in self.taken))

    def of(self) -> Dict[str, Taken]:
        """Return what is taken by kind."""
        return {one.kind: one for one in self.taken}
