# SPDX-License-Identifier: Apache-2.0
"""Ask the known set and compare with exact search: recall, rows, each row by its own vector, the stored vectors."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from chaosgpu.errors import AnswerWrong
from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb.backends.contract import Backend, NoCollection, Row
from chaosgpu.vectordb.known_set import KnownSet, same

__all__ = ["Searched", "Selves", "Stored", "check_stored", "search_known", "search_selves", "seed"]

# How many rows one request carries: below every limit of every database, and small enough for one deadline.
BATCH = 250
# research/serving.md §5.3: as many as there are questions.
SELVES = 50


@dataclass(frozen=True)
class Searched:
    """What the questions brought. `short` counts answers with fewer than k rows, `foreign` ids that are not ours."""

    recall: float
    trials: int
    short: int
    foreign: int
    p50_ms: float
    p95_ms: float
    max_ms: float

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer."""
        return {key: round(value, 4) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Selves:
    """How many rows were asked for by their own vector, and which of them did not come first."""

    asked: int
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """How many rows should be there, and the ids of those that are missing, twice, not numbers, or another vector."""

    rows: int
    missing: tuple[int, ...]
    doubled: tuple[int, ...]
    not_finite: tuple[int, ...]
    changed: tuple[int, ...]

    @property
    def wrong(self) -> int:
        """How many rows are not as they were written."""
        return len({*self.missing, *self.doubled, *self.not_finite, *self.changed})

    def sentence(self) -> str:
        """Say what is wrong with how many of them."""
        parts = [f"{len(found)} {name.replace('_', ' ')} ({_some(found)})" for name, found in self._kinds() if found]
        return f"of {self.rows} stored vectors {', '.join(parts)}" if parts else f"all {self.rows} vectors are right"

    def to_json(self) -> JsonObject:
        """Return the counts."""
        return {"rows": self.rows, **{name: len(found) for name, found in self._kinds()}}

    def _kinds(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(name, getattr(self, name)) for name in ("missing", "doubled", "not_finite", "changed")]


def _some(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (", …" if len(ids) > 5 else "")  # noqa: PLR2004 (a handful to look at)


def seed(backend: Backend, collection: str, known: KnownSet) -> None:
    """Make the collection with the known set in it; one that has exactly this set already is left as it is."""
    try:
        there = check_stored(backend, collection, known)
    except (NoCollection, AnswerWrong):  # not there, or not loaded
        there = None
    if there is not None and there.wrong == 0 and backend.count(collection) == known.rows:
        return
    backend.drop(collection)
    backend.create(collection, known.dimension)
    for at in range(0, known.rows, BATCH):
        backend.put(collection, known.stored[at : at + BATCH])


def search_known(
    backend: Backend, collection: str, known: KnownSet, now: Callable[[], float] = time.perf_counter
) -> Searched:
    """Ask every question once and compare with the exact neighbours."""
    right = short = foreign = 0
    took: list[float] = []
    for question, neighbours in zip(known.questions, known.neighbours, strict=True):
        began = now()
        hits = backend.search(collection, question, known.k)
        took.append((now() - began) * 1000)
        # A row that comes twice counts once.
        found = {hit.id for hit in hits[: known.k]}
        right += len(found & neighbours)
        short += len(found) < known.k
        foreign += sum(not 1 <= one <= known.rows for one in found)
    trials = known.queries * known.k
    took.sort()
    return Searched(right / trials, trials, short, foreign, _rank(took, 0.5), _rank(took, 0.95), took[-1])


def _rank(ordered: list[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def search_selves(backend: Backend, collection: str, rows: Sequence[Row]) -> Selves:
    """Ask for each row by its own vector: it must come first, being at no distance at all."""
    missing = []
    for row in rows:
        hits = backend.search(collection, row.vector, 1)
        if not hits or hits[0].id != row.id:
            missing.append(row.id)
    return Selves(len(rows), tuple(missing))


def selves_of(known: KnownSet) -> tuple[Row, ...]:
    """Return rows from all over the set."""
    step = max(1, known.rows // SELVES)
    return known.stored[::step][:SELVES]


def check_stored(backend: Backend, collection: str, known: KnownSet) -> Stored:
    """Fetch every row and compare it with the one that was written."""
    missing: list[int] = []
    doubled: list[int] = []
    not_finite: list[int] = []
    changed: list[int] = []
    for at in range(0, known.rows, BATCH):
        meant = known.stored[at : at + BATCH]
        found: dict[int, Row] = {}
        for row in backend.get(collection, [one.id for one in meant]):
            if row.id in found:
                doubled.append(row.id)
            found[row.id] = row
        for one in meant:
            row_found = found.get(one.id)
            if row_found is None:
                missing.append(one.id)
            elif not all(map(math.isfinite, row_found.vector)):
                not_finite.append(one.id)
            elif not same(row_found.vector, one.vector):
                changed.append(one.id)
    return Stored(known.rows, tuple(missing), tuple(doubled), tuple(not_finite), tuple(changed))
