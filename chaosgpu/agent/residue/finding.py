# SPDX-License-Identifier: Apache-2.0
"""One thing that was left behind, what a family of them is, and the table of all families by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, List, Mapping, Optional, Tuple

from chaosgpu.agent.values import JsonObject

if TYPE_CHECKING:
    from chaosgpu.agent.residue.scene import Scene

__all__ = ["FOREIGN", "OURS", "UNKNOWN", "Family", "Finding", "Found", "Unlooked", "families", "family"]

OURS, FOREIGN, UNKNOWN = "ours", "foreign", "unknown"


class Unlooked(Exception):
    """Something could not be looked at; the text says what and why. What was not seen is not clean."""


@dataclass(frozen=True)
class Finding:
    """What was left behind, where, and how to put it right by hand.

    `owner` is "ours", "foreign" (another tool, or a hasty hand), or "unknown": a state that a fault leaves, and that
    the people of this host may also have meant.
    """

    kind: str
    what: str
    where: str
    owner: str
    by_hand: str
    lease: Optional[str] = None

    def to_json(self) -> JsonObject:
        """Return it as JSON."""
        found: JsonObject = {key: getattr(self, key) for key in ("kind", "what", "where", "owner", "by_hand")}
        return found if self.lease is None else {**found, "lease": self.lease}


class Found:
    """What one family has found, and what it could not look at."""

    def __init__(self, of: "Family") -> None:
        self._of = of
        self.findings: List[Finding] = []
        self.unknown: List[str] = []

    def add(
        self,
        kind: str,
        what: str,
        where: str,
        by_hand: str,
        *,
        lease: Optional[str] = None,
        owner: Optional[str] = None,
    ) -> None:
        """Note a finding of one of the family's kinds."""
        if kind not in self._of.kinds:
            raise ValueError(f"The family {self._of.name} has no kind {kind}.")
        self.findings.append(Finding(kind, what, where, owner or self._of.owner, by_hand, lease))

    def could_not(self, why: str) -> None:
        """Note that a part could not be looked at; what hides several parts is one reason."""
        if why not in self.unknown:
            self.unknown.append(why)

    def part(self, look: "Look", scene: "Scene") -> None:
        """Let a part of the family look, which hides nothing of the others if it cannot."""
        try:
            look(scene, self)
        except Unlooked as error:
            self.could_not(str(error))


Look = Callable[["Scene", Found], None]


@dataclass(frozen=True, eq=False)
class Family:
    """Kinds of residue that are found in one place: whose they usually are, each kind in a few words, how to look."""

    name: str
    owner: str
    kinds: Mapping[str, str]
    look: Look


_families: Dict[str, Family] = {}


def family(name: str, owner: str, kinds: Mapping[str, str]) -> Callable[[Look], Look]:
    """Enter a function into the table of families."""

    def enter(look: Look) -> Look:
        _families[name] = Family(name, owner, kinds, look)
        return look

    return enter


def families(owner: Optional[str] = None) -> Tuple[Family, ...]:
    """Return every family, or those of one owner; ours come first."""
    from chaosgpu.agent.residue import every  # noqa: F401, PLC0415 (they enter themselves; a cycle at the top)

    known = sorted(_families.values(), key=lambda one: (one.owner != OURS, one.name))
    return tuple(one for one in known if owner is None or one.owner == owner)
