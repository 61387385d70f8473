# SPDX-License-Identifier: Apache-2.0
"""What a database lost, doubled, brought back or changed: a pure function over a history and the final reads.

The rules. A row's writes are those of the history that name it; it begins as absent.

1. A write that was acknowledged is done from then on. One that failed was never done. One whose outcome is unknown,
   or that never ended, may be done at any time after it was asked, or never.
2. What a row may be at a moment is what its last acknowledged write made of it, or what an unknown one would make of
   it, or what a write that was under way at that moment would. Last means: no other acknowledged write was asked after
   it had ended; several may be last where they overlapped.
3. A final read is a moment after everything. A read during the history spans from when it was asked to when it was
   answered, and may see whatever was allowed at any time in between; `visible_within_s` lets it see as far back.
4. A row that may not be absent and is: lost. That is there more than once: duplicated. That may only be absent and is
   there, with a version that it had: resurrected. With a version that it had and may have no more: stale. With one
   whose write failed: refused. With a vector that no write gave it: corrupted.
5. A row that could not be read is none of these: it is unread, and the whole is not clean.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb.history import Asked, Ended, History, Seen

__all__ = ["KINDS", "Checked", "Finding", "Write", "check"]

KINDS = ("lost", "duplicated", "resurrected", "stale", "refused", "corrupted")
_NEVER = float("inf")
# A version of a row; None is an absent row.
type State = int | None


@dataclass(frozen=True)
class Write:
    """One write to one row: the state it makes, when it was asked and when it ended."""

    makes: State
    outcome: str
    asked_s: float
    ended_s: float


@dataclass(frozen=True)
class Finding:
    """One thing that a database did which no order of the writes explains."""

    kind: str
    row: int
    words: str
    # Whether a read during the history saw it, and not the final one.
    during: bool = False

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        return f"{self.kind}{' in a read' if self.during else ''}: row {self.row} {self.words}"


@dataclass(frozen=True)
class Checked:
    """What was found, and of how much."""

    rows: int
    acknowledged: int
    failed: int
    unknown: int
    reads: int
    unread: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether every row could be read and is one that the history explains."""
        return not self.findings and not self.unread

    def count(self, kind: str, *, during: bool = False) -> int:
        """Return how many rows were found to be so at the end, or by reads during the history."""
        return len({one.row for one in self.findings if one.kind == kind and one.during is during})

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer, with the first few findings in words."""
        return {
            "clean": self.clean,
            **{kind: self.count(kind) for kind in KINDS},
            # Rows that a read saw so while they were written: they may be right at the end.
            "during": {kind: number for kind in KINDS if (number := self.count(kind, during=True))},
            "unread": len(self.unread),
            "rows": self.rows,
            "acknowledged": self.acknowledged,
            "failed": self.failed,
            "unknown": self.unknown,
            "reads": self.reads,
            "findings": [one.sentence for one in self.findings[:10]],
        }


def check(history: History, final: Mapping[int, tuple[Seen, ...] | None], visible_within_s: float = 0.0) -> Checked:
    """Check a history against what each of its rows is at the end (None for one that could not be read)."""
    ends = {event.op: event for event in history.events if isinstance(event, Ended)}
    asked = [event for event in history.events if isinstance(event, Asked)]
    writes = _writes(asked, ends)
    findings: list[Finding] = []
    unread = []
    for row in {**writes, **final}:
        seen, of_row = final.get(row), writes.get(row, [])
        if seen is None:
            unread.append(row)
        else:
            findings += _judged(row, seen, of_row, _NEVER, _NEVER, during=False)
    reads = 0
    for event in asked:
        end = ends.get(event.op)
        if event.do != "get" or end is None or end.outcome != "acknowledged":
            continue
        reads += 1
        for row, rows_seen in end.seen:
            of_row = writes.get(row, [])
            findings += _judged(row, rows_seen, of_row, event.at_s - visible_within_s, end.at_s, during=True)
    outcomes = [ends[event.op].outcome if event.op in ends else "unknown" for event in asked if event.do != "get"]
    return Checked(
        rows=len(writes),
        acknowledged=outcomes.count("acknowledged"),
        failed=outcomes.count("failed"),
        unknown=outcomes.count("unknown"),
        reads=reads,
        unread=tuple(unread),
        findings=tuple(findings),
    )


def _writes(asked: Iterable[Asked], ends: Mapping[int, Ended]) -> dict[int, list[Write]]:
    found: dict[int, list[Write]] = {}
    for event in asked:
        if event.do == "get":
            continue
        end = ends.get(event.op)
        outcome = "unknown" if end is None else end.outcome
        ended_s = _NEVER if end is None or outcome == "unknown" else end.at_s
        for row, version in event.rows:
            makes = version if event.do == "put" else None
            found.setdefault(row, []).append(Write(makes, outcome, event.at_s, ended_s))
    return found


def allowed(writes: Iterable[Write], since_s: float, until_s: float) -> set[State]:
    """Return what a row may be at any time from `since_s` to `until_s`."""
    possible = [one for one in writes if one.outcome != "failed" and one.asked_s <= until_s]
    done = [one for one in possible if one.outcome == "acknowledged" and one.ended_s < since_s]
    latest_asked_s = max((one.asked_s for one in done), default=-_NEVER)
    last = {one.makes for one in done if one.ended_s >= latest_asked_s}
    under_way = {one.makes for one in possible if one.ended_s >= since_s}
    return (last if done else {None}) | under_way


def _judged(
    row: int, seen: tuple[Seen, ...], writes: list[Write], since_s: float, until_s: float, *, during: bool
) -> list[Finding]:
    may_be = allowed(writes, since_s, until_s)
    if len(seen) > 1:
        return [Finding("duplicated", row, f"is there {len(seen)} times", during)]
    if not seen:
        last = max((state for state in may_be if state is not None), default=0)
        words = f"is absent, and its version {last} was acknowledged"
        return [] if None in may_be else [Finding("lost", row, words, during)]
    found = seen[0]
    if found.row != row or found.version is None:
        whose = "of nobody" if found.row is None else f"of row {found.row}, version {found.version}"
        return [Finding("corrupted", row, f"has a vector {whose}", during)]
    if found.version in may_be:
        return []
    made = [one for one in writes if one.makes == found.version]
    if not made:
        return [Finding("corrupted", row, f"has version {found.version}, which nobody wrote", during)]
    if all(one.outcome == "failed" for one in made):
        return [Finding("refused", row, f"has version {found.version}, whose write was refused", during)]
    if may_be <= {None}:
        return [Finding("resurrected", row, f"is there with version {found.version} and was deleted", during)]
    return [Finding("stale", row, f"has version {found.version} and may be one of {_words(may_be)}", during)]


def _words(states: set[State]) -> str:
    return ", ".join(sorted("absent" if state is None else str(state) for state in states))
