# SPDX-License-Identifier: Apache-2.0
"""Before, during, after: when a run's faults were in force, from its ledger, or from marks that the experiment set."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.fleet.values import JsonObject

__all__ = ["MARKS", "PHASES", "Fault", "fault_of_ledger", "fault_of_marks", "fault_of_run", "span_of"]

PHASES = ("before", "during", "after", "all")
MARKS = "phases.jsonl"
_OVER = frozenset({"lease.clean", "lease.stuck"})


@dataclass(frozen=True)
class Fault:
    """From when to when something was broken, in seconds since the epoch; `ended` is None while it is."""

    began: float
    ended: float | None


def fault_of_ledger(entries: Iterable[JsonObject]) -> Fault | None:
    """Return the span from the first fault's intent to the end of the last one; None without a fault in force."""
    reserved: dict[str, float] = {}
    began: float | None = None
    in_force: set[str] = set()
    ended: float | None = None
    for entry in entries:
        kind, lease = entry.get("type"), str(entry.get("lease"))
        at = datetime.fromisoformat(str(entry.get("at"))).timestamp()
        if kind == "lease.reserved":
            reserved[lease] = at
        elif kind == "lease.active" and not entry.get("again"):
            began = reserved.get(lease, at) if began is None else began
            in_force.add(lease)
        elif kind in _OVER and lease in in_force:
            in_force.discard(lease)
            ended = at
    return None if began is None else Fault(began, None if in_force else ended)


def fault_of_marks(entries: Iterable[JsonObject]) -> Fault | None:
    """Return the span that `mark_phase` has marked: the first `during`, and the `after` that follows it."""
    began: float | None = None
    ended: float | None = None
    for entry in entries:
        at = float(str(entry.get("at")))
        if entry.get("phase") == "during":
            began, ended = (at if began is None else began), None
        elif began is not None:
            ended = at
    return None if began is None else Fault(began, ended)


def fault_of_run(directory: Path) -> Fault | None:
    """Look at a run's marks, and without any at its leases."""
    marks = directory / "series" / MARKS
    if marks.exists():
        return fault_of_marks(_entries(marks))
    return fault_of_ledger(_entries(directory / "ledger.jsonl"))


def span_of(phase: object, fault: Fault | None, started: float, now: float) -> tuple[float, float]:
    """Return the span of a phase; one that has not begun cannot be known."""
    if phase not in PHASES:
        raise BadArgument(f"phase must be one of {', '.join(PHASES)}, not {phase!r}.")
    if phase == "all":
        return started, now
    if fault is None:
        if phase == "before":
            return started, now
        raise ReadingUnknown(
            f"There is no phase {phase!r}: no fault of this run was in force and no phase was marked. Put the fault in "
            "first; for one that is no lease call chaosgpu.traffic.actions.mark_phase around it."
        )
    if phase == "before":
        return started, fault.began
    if phase == "during":
        return fault.began, now if fault.ended is None else fault.ended
    if fault.ended is None:
        raise ReadingUnknown("There is no phase 'after' yet: the fault is still in force. Undo it first.")
    return fault.ended, now


def _entries(path: Path) -> list[JsonObject]:
    try:
        lines = path.read_text().splitlines(keepends=True)
    except OSError as error:
        raise ReadingUnknown(f"{path} cannot be read: {error.strerror}.") from error
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [entry for entry in found if isinstance(entry, dict)]
