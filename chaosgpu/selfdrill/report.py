# SPDX-License-Identifier: Apache-2.0
"""What a drill found, as figures: for the terminal, and for a file."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chaosgpu.agent.values import JsonObject
from chaosgpu.selfdrill import failing
from chaosgpu.selfdrill.drill import FAULTS, Settings, Struck
from chaosgpu.selfdrill.host import BOUND_S
from chaosgpu.selfdrill.points import stage

__all__ = ["PHASES", "Figure", "Report"]

PHASES = ("arm", "inject", "renew", "verify", "revert", "boot")


@dataclass(frozen=True)
class Figure:
    """One line of the table; `holds` is None where there is no target."""

    name: str
    value: float
    unit: str
    target: str
    holds: bool | None


@dataclass(frozen=True)
class Report:
    """A drill that has ended."""

    settings: Settings
    planned: int
    struck: Sequence[Struck]
    seconds: float

    @property
    def holds(self) -> bool:
        """Tell whether nothing was left and every planned point was hit."""
        return all(figure.holds is not False for figure in self.figures())

    def figures(self) -> list[Figure]:
        """Return the figures."""
        hits = [one for one in self.struck if one.outcome.hit]
        kills = [one for one in self.struck if not failing.is_failure(one.point)]
        left = sum(bool(one.outcome.residue) for one in self.struck)
        late = sorted(one.outcome.late_s for one in hits if not one.outcome.residue)
        latest = late[-1] if late else 0.0
        return [
            Figure("points planned", self.planned, "points", f"= {self.settings.points}", self._all_planned()),
            Figure("of these hit", len(hits), "points", f"= {self.planned}", len(hits) == self.planned),
            Figure("points with something left", left, "points", "= 0", left == 0),
            Figure("clean after the deadline, latest", latest, "s", f"<= {BOUND_S:g}", latest <= BOUND_S),
            Figure("kills", len(kills), "points", "", None),
            Figure("calls that failed", len(self.struck) - len(kills), "points", "", None),
            Figure("while the fault was in force", self._count("in_force"), "points", "", None),
            Figure("that needed the sweep", self._count("swept"), "points", "", None),
        ]

    def by_phase(self) -> list[tuple[str, list[int]]]:
        """Return for each phase how many points were hit on each fault."""
        counts = Counter((stage(one.point, one.outcome), one.point.fault) for one in self.struck if one.outcome.hit)
        return [(phase, [counts[phase, fault] for fault in FAULTS]) for phase in PHASES]

    def to_json(self) -> JsonObject:
        """Return all of it."""
        host = os.uname()
        return {
            "host": host.nodename,
            "kernel": host.release,
            "user": os.geteuid(),
            "seed": self.settings.seed,
            "seconds": round(self.seconds, 1),
            "holds": self.holds,
            "figures": [{**vars(figure)} for figure in self.figures()],
            "points": [_line(one) for one in self.struck],
        }

    def _all_planned(self) -> bool:
        return self.planned == self.settings.points

    def _count(self, what: str) -> int:
        return sum(bool(getattr(one.outcome, what)) for one in self.struck)


def _line(one: Struck) -> JsonObject:
    return {
        "point": one.point.key,
        "phase": stage(one.point, one.outcome),
        "hit": one.outcome.hit,
        "tries": one.tries,
        "at": one.outcome.at,
        "in_force": one.outcome.in_force,
        "late_s": one.outcome.late_s,
        "swept": one.outcome.swept,
        "left": [*one.outcome.residue],
    }
