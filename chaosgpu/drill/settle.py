# SPDX-License-Identifier: Apache-2.0
"""What is found at the next start: drills whose controller died, and drills that should have run and did not.

The second comes from the log alone: it holds each schedule, so that no lost plan and no lost machine hides a drill.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from chaosgpu.drill.occurrences import LATE_S, Occurrence, occurrence_at, occurrences
from chaosgpu.drill.plan import Timing
from chaosgpu.drill.record import Record, Series
from chaosgpu.drill.state import DrillFolder, every_drill
from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonMapping, JsonObject

__all__ = ["Force", "Missed", "due_now", "end_dead_drills", "in_force", "missed", "record_missed"]

type Recover = Callable[[DrillFolder, Path], str | None]


@dataclass(frozen=True)
class Force:
    """A schedule of a drill from one moment to another; `until` is None for the one that counts now."""

    drill: str
    plan_sha256: str
    timing: Timing
    since: dt.datetime
    until: dt.datetime | None


def in_force(entries: Iterable[JsonMapping]) -> list[Force]:
    """Read from the log which schedule counted when: each until the next of its drill, or until it was ended."""
    begun: dict[str, list[tuple[dt.datetime, str, Timing | None]]] = {}
    for one in entries:
        if one.get("type") != "planned" or "schedule" not in one:
            continue
        at = dt.datetime.fromisoformat(str(one["at"]))
        try:
            timing = Timing.model_validate(one["schedule"]) if isinstance(one["schedule"], dict) else None
        except ValidationError:
            timing = None
        begun.setdefault(str(one["drill"]), []).append((at, str(one.get("plan_sha256")), timing))
    return [
        Force(drill, sha256, timing, since, listed[number + 1][0] if number + 1 < len(listed) else None)
        for drill, listed in begun.items()
        for number, (since, sha256, timing) in enumerate(listed)
        if timing is not None
    ]


def due_now(entries: Iterable[JsonMapping], drill: str, now: dt.datetime) -> str | None:
    """Return the start of a drill that is due now by the schedule on record, whatever its plan says by now."""
    for force in in_force(entries):
        if force.drill == drill and force.until is None:
            try:
                found = occurrence_at(force.timing, now)
            except BadArgument:
                return None
            return None if found is None else found.name
    return None


@dataclass(frozen=True)
class Missed:
    """A start that was due and did not come; `reason` as far as this machine can tell."""

    force: Force
    due: Occurrence
    reason: str = ""

    @property
    def line(self) -> str:
        """Say it."""
        return f"{self.force.drill}, due at {self.due.name}, did not run: {self.reason}"


def missed(entries: Sequence[JsonMapping], now: dt.datetime) -> list[Missed]:
    """Return each start that was due and of which the log says nothing: neither a drill nor why there was none."""
    told = {(one.get("drill"), one.get("occurrence")) for one in entries if one.get("type") == "started"}
    told |= {(one.get("drill"), one.get("due")) for one in entries if one.get("type") == "drill-skipped"}
    late = dt.timedelta(seconds=LATE_S)
    found = []
    for force in in_force(entries):
        try:
            every = list(occurrences(force.timing))
        except BadArgument:  # a time zone whose rules were changed since
            continue
        due = [one for one in every if force.since < one.at <= (force.until or now) and one.at + late <= now]
        found += [Missed(force, one) for one in due if (force.drill, one.name) not in told]
    return sorted(found, key=lambda one: one.due.at)


def record_missed(record: Record, now: dt.datetime, up_since: dt.datetime) -> list[Missed]:
    """Write down each drill that should have run and did not, and return them."""
    found = []
    for one in missed(record.trusted().entries, now):
        if up_since > one.due.at:
            reason = f"this machine was down when it was due: it is up since {up_since:%Y-%m-%dT%H:%M:%SZ}"
        else:
            reason = "nothing started it when it was due, though this machine was up: see its timer"
        record.skipped(one.force.drill, one.due.name, reason, how="missed", plan_sha256=one.force.plan_sha256)
        found.append(replace(one, reason=reason))
    return found


def end_dead_drills(home: Path, record: Record, recover: Recover) -> list[str]:
    """End in the log what died without a word, after its hosts were brought back; return a line for each.

    `recover` brings the hosts of a run back and returns what is left, or None.
    """
    lines = []
    for folder in every_drill(home):
        if folder.lives or folder.said.get("state") in (None, "ended"):  # None: it is only just beginning
            continue
        series = Series(str(folder.said.get("drill", "")), str(folder.said.get("series", "")))
        attempts = record.trusted().attempts
        reason = "its controller died before it could end it; found at the next start"
        runs = sorted(path for path in (folder.path / "runs").glob("*") if path.is_dir() and not path.is_symlink())
        open_parts = [name for name, one in attempts.items() if one.end is None and name.startswith(f"{series.name}.")]
        for name in open_parts:
            number = int(name.rpartition(".")[2])  # its runs follow one another, each with one folder
            directory = runs[number - 1] if number <= len(runs) else None
            left = None if directory is None else recover(folder, directory)
            record.run_lost(series, name, reason, directory)
            if left is not None:
                record.residue(series, name, _hosts(folder.said), left)
        own = attempts.get(series.name)
        if own is not None and own.end is None:
            record.series_aborted(series, reason, found=True)
        folder.keep(state="ended", verdict="inconclusive", reason=reason)
        lines.append(f"{series.drill} ({series.name}) was ended in the log: {reason}")
    return lines


def _hosts(said: JsonObject) -> str:
    hosts = said.get("hosts")
    return ", ".join(map(str, hosts)) if isinstance(hosts, list) else "unknown"
