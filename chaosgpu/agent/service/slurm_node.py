# SPDX-License-Identifier: Apache-2.0
"""What Slurm's own tools print of a node, its jobs and a reservation, read: older ones have no JSON."""

import re
from dataclasses import dataclass
from typing import List, Optional

from chaosgpu.agent.errors import Unanswered

__all__ = ["Node", "has_reservation", "parse_jobs", "parse_node"]

_FIELD = r"(?:^|\s){}=(\S+)"
_REASON = re.compile(r"^\s*Reason=(.*?)(?: \[[^\[\]]*@[^\[\]]*\])?\s*$", re.MULTILINE)
_IN_SERVICE = frozenset({"IDLE", "MIXED", "ALLOCATED"})
# Beside these it is somebody's who has taken it, or nobody's; ours by a reservation it is as well.
_HARMLESS = frozenset({"RESERVED", "PLANNED", "CLOUD", "DYNAMIC_NORM", "COMPLETING"})


@dataclass(frozen=True)
class Node:
    """One node: `state` is Slurm's own, such as IDLE+DRAIN; `reason` is without who gave it, and when."""

    name: str
    host: str
    state: str
    reason: str

    @property
    def flags(self) -> "frozenset[str]":
        """Return every part of its state; a star says that it does not answer."""
        return frozenset(part.rstrip("*~#!%$@^-") for part in self.state.split("+"))

    @property
    def answers(self) -> bool:
        """Tell whether its slurmd answers the controller."""
        base = self.state.split("+")[0]
        return "NOT_RESPONDING" not in self.flags and not base.endswith("*") and not base.startswith("UNKNOWN")

    @property
    def drained_by(self) -> Optional[str]:
        """Return the reason of its drain; None where it is not drained."""
        return self.reason if "DRAIN" in self.flags else None

    @property
    def usable(self) -> bool:
        """Tell whether jobs can start on it."""
        return self.answers and bool(self.flags & _IN_SERVICE) and self.flags <= _IN_SERVICE | _HARMLESS


def parse_node(text: str) -> Node:
    """Read `scontrol show node NAME`."""
    name, state = _field(text, "NodeName"), _field(text, "State")
    if name is None or state is None:
        raise Unanswered(f"What scontrol says of a node cannot be understood: {' '.join(text.split())[:200]}")
    reason = _REASON.search(text)
    return Node(name, _field(text, "NodeHostName") or "", state, reason.group(1) if reason else "")


def parse_jobs(text: str) -> List[str]:
    """Read `squeue --format=%A|%u|%T`: one sentence for each job."""
    rows = [row.split("|") for row in text.splitlines() if row.strip()]
    return [f"{row[0]} ({', '.join(row[1:]).lower()})" for row in rows]


def has_reservation(text: str, name: str) -> bool:
    """Tell whether `scontrol show reservation` shows one of this name."""
    return _field(text, "ReservationName") == name


def _field(text: str, name: str) -> Optional[str]:
    found = re.search(_FIELD.format(name), text, re.MULTILINE)
    return found.group(1) if found else None
