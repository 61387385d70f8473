# SPDX-License-Identifier: Apache-2.0
"""The rules of the site's evidence log, as a pure function over its lines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chaosgpu.evidence.entry import ENDS, read_canonical
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.chain import FIRST, digest

__all__ = ["Attempt", "Log", "follow", "read_log"]


@dataclass
class Attempt:
    """One attempt at a drill, as the log tells it."""

    attempt: str
    drill: str
    plan_sha256: str
    started: str
    # Its `finished` or `aborted`; None where the log has none.
    end: JsonObject | None = None
    residue: int = 0


@dataclass(frozen=True)
class Log:
    """What a log says, and each thing that is wrong with it as a sentence."""

    entries: tuple[JsonObject, ...]
    # The digest of each line, in order: what a checkpoint names.
    digests: tuple[str, ...]
    attempts: dict[str, Attempt] = field(default_factory=dict)
    # It was changed, cut or forged.
    problems: tuple[str, ...] = ()
    # It holds, and says itself that something is not there.
    missing: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """Return the digest of the last line."""
        return self.digests[-1] if self.digests else FIRST


def read_log(lines: Sequence[bytes], torn: bytes = b"") -> Log:
    """Read and check a log's raw lines without their newlines, and what stands torn behind them.

    The rules: each line is one JSON object in the one form that `entry.encode` gives it, with the fields of its type
    in their order; `seq` counts 1, 2, 3…; `prev` is the digest of the raw line before, 64 zeros in the first; `at`
    never goes back. An attempt starts once, under a plan that was planned before; it ends once, with `finished` or
    `aborted`, after it started; `residue` has its start before it. What is approved was planned before. An attempt that
    started and has no end is missing it: it runs, was lost, or its end was cut off.
    What this cannot show: that lines were cut off at the end, or that all of it was written anew. A checkpoint does.
    """
    entries: list[JsonObject] = []
    attempts: dict[str, Attempt] = {}
    problems = [f"The last line of the log is torn: {len(torn)} bytes without an end."] if torn else []
    planned: set[tuple[str, str]] = set()
    before, latest = FIRST, ""
    for number, line in enumerate(lines, start=1):
        entry = read_canonical(line)
        if isinstance(entry, str):
            problems.append(f"Line {number} of the log {entry}.")
            before = digest(line)
            continue
        problems += [f"Line {number} of the log {wrong}." for wrong in _linked(number, entry, before, latest)]
        problems += [f"Line {number} of the log {wrong}." for wrong in follow(entry, attempts, planned)]
        entries.append(entry)
        before, latest = digest(line), str(entry["at"])
    missing = [
        f"Attempt {one.attempt} at drill {one.drill} started at {one.started} and has no end in the log: "
        "it is under way, was lost, or its end was taken out."
        for one in attempts.values()
        if one.end is None
    ]
    return Log(tuple(entries), tuple(digest(line) for line in lines), attempts, tuple(problems), tuple(missing))


def _linked(number: int, entry: JsonObject, before: str, latest: str) -> list[str]:
    """Check count, digest of the line before, and time."""
    wrong = []
    if entry["seq"] != number or isinstance(entry["seq"], bool):
        wrong.append(f"has seq {entry['seq']!r}: a line was taken out, put in or moved")
    if entry["prev"] != before:
        wrong.append("does not carry the digest of the line before it: one of them was changed")
    if not _is_time(entry["at"]):
        wrong.append(f"has no time: {entry['at']!r}")
    elif str(entry["at"]) < latest:
        wrong.append("is older than the line before it: a line was moved, or the clock went back")
    return wrong


def follow(entry: JsonObject, attempts: dict[str, Attempt], planned: set[tuple[str, str]]) -> list[str]:
    """Check that it could come after what came before, and take it up."""
    kind, drill, name = str(entry["type"]), str(entry["drill"]), str(entry["attempt"])
    plan = (drill, str(entry.get("plan_sha256")))
    if kind == "planned":
        planned.add(plan)
    elif kind == "approved" and plan not in planned:
        return [f"approves a plan of drill {drill} that was not planned before"]
    elif kind == "started":
        return _start(entry, attempts, planned)
    elif kind in ENDS or kind == "residue":
        attempt = attempts.get(name)
        if attempt is None or attempt.drill != drill:
            return [f"says {kind} of attempt {name} at drill {drill}, which has not started"]
        if kind == "residue":
            attempt.residue += 1
        elif attempt.end is not None:
            return [f"ends attempt {name} a second time"]
        else:
            attempt.end = entry
    return []


def _start(entry: JsonObject, attempts: dict[str, Attempt], planned: set[tuple[str, str]]) -> list[str]:
    """Take up an attempt."""
    drill, name, plan = str(entry["drill"]), str(entry["attempt"]), str(entry["plan_sha256"])
    if name in attempts:
        return [f"starts attempt {name} a second time"]
    attempts[name] = Attempt(name, drill, plan, str(entry["at"]))
    return [] if (drill, plan) in planned else [f"starts drill {drill} under a plan that was not planned before"]


def _is_time(source: object) -> bool:
    """Tell whether this is a time in UTC, to the millisecond, as entries have it: such times compare as text."""
    if not isinstance(source, str) or len(source) != len("2026-01-01T00:00:00.000Z") or not source.endswith("Z"):
        return False
    try:
        datetime.fromisoformat(source)
    except ValueError:
        return False
    return True
