# SPDX-License-Identifier: Apache-2.0
"""Reads back every row of a history and has it checked: gettable first, then findable by its own vector."""

from dataclasses import dataclass

from chaosgpu.errors import AnswerWrong, ChaosGpuError
from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb.backends.contract import Backend, NotTaken
from chaosgpu.vectordb.checker import Checked, check
from chaosgpu.vectordb.history import Asked, History, Identifier, Seen
from chaosgpu.vectordb.recording import seen_rows

__all__ = ["Audited", "audit"]

_BATCH = 200
_SEARCHED = 50


@dataclass(frozen=True)
class Audited:
    """The checker's findings; beside them, how many of the rows that are there do not come first for themselves."""

    checked: Checked
    searched: int
    not_found: tuple[int, ...]
    count: int | None

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer."""
        return {
            **self.checked.to_json(),
            "searched": self.searched,
            "not_first_for_themselves": len(self.not_found),
            "count": self.count,
        }


def audit(backend: Backend, history: History, visible_within_s: float = 0.0) -> Audited:
    """Read every row that the history names, check it, and search for some of those that are there."""
    head = history.header
    known = Identifier(head.seed, head.dimension)
    rows: dict[int, None] = {}
    for event in history.events:
        if isinstance(event, Asked) and event.do != "get":
            for row, version in event.rows:
                rows[row] = None
                if event.do == "put":
                    known.expect(row, version)
    backend.open(head.collection)
    final = _final(backend, head.collection, list(rows), known)
    there = [(row, seen[0]) for row, seen in final.items() if seen is not None and len(seen) == 1]
    sample = [(row, one) for row, one in there if one.row == row][:: max(1, len(there) // _SEARCHED)]
    missing = []
    for row, one in sample:
        hits = backend.search(head.collection, known.expect(row, one.version or 0), 1)
        if not hits or hits[0].id != row:
            missing.append(row)
    return Audited(
        checked=check(history, final, visible_within_s),
        searched=len(sample),
        not_found=tuple(missing),
        count=_count(backend, head.collection),
    )


def _final(backend: Backend, collection: str, rows: list[int], known: Identifier) -> dict[int, tuple[Seen, ...] | None]:
    final: dict[int, tuple[Seen, ...] | None] = dict.fromkeys(rows)
    for at in range(0, len(rows), _BATCH):
        some = rows[at : at + _BATCH]
        try:
            found = backend.get(collection, some)
        except (AnswerWrong, NotTaken):
            continue  # unread: the checker says so, and the others are asked all the same
        final.update(seen_rows(found, some, known))
    return final


def _count(backend: Backend, collection: str) -> int | None:
    try:
        return backend.count(collection)
    except ChaosGpuError:
        return None
