# SPDX-License-Identifier: Apache-2.0
"""Where a test's database is, and what every backend must do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from chaosgpu.lab.databases import Database
from chaosgpu.vectordb.backends.address import address
from chaosgpu.vectordb.backends.connect import connected
from chaosgpu.vectordb.backends.contract import Backend, NoCollection, NotTaken, Row
from chaosgpu.vectordb.known_set import KnownSet, same

COLLECTION = "chaosgpu_test"
SMALL = KnownSet(seed=3, rows=200, dimension=8, queries=10, k=5)


@dataclass(frozen=True)
class Known:
    """A database that runs."""

    kind: str
    url: str
    key: str | None

    @property
    def secrets(self) -> Mapping[str, object]:
        return {} if self.key is None else {"key": self.key}

    @property
    def named(self) -> dict[str, Any]:
        """The arguments by which a probe is told."""
        return {"url": self.url, "backend": self.kind, "secrets": dict(self.secrets)}


def is_there(known: Known, collection: str) -> bool:
    """Tell whether the database has the collection."""
    with using(known) as backend:
        try:
            backend.count(collection)
        except NoCollection:
            return False
    return True


def known_of(database: Database) -> Known:
    return Known(database.engine.name, database.url, database.key)


@contextmanager
def using(known: Known, within_s: float = 10.0) -> Iterator[Backend]:
    """Use a database over a connection of its own."""
    with connected(address(known.kind, known.url, within_s, known.secrets)) as backend:
        yield backend


@contextmanager
def emptied(backend: Backend, collection: str = COLLECTION, dimension: int = 8) -> Iterator[str]:
    """Give an empty collection and remove it afterwards."""
    backend.drop(collection)
    backend.create(collection, dimension)
    yield collection
    backend.drop(collection)


def keeps_what_it_is_given(backend: Backend) -> None:
    rows = SMALL.stored[:20]
    with emptied(backend) as collection:
        backend.put(collection, rows)
        assert backend.count(collection) == 20
        assert sorted(row.id for row in backend.get(collection, [1, 2, 999])) == [1, 2]
        assert backend.search(collection, rows[4].vector, 3)[0].id == 5
        moved = Row(5, rows[6].vector)
        backend.put(collection, [moved])
        found = backend.get(collection, [5])
        assert len(found) == 1
        assert same(found[0].vector, moved.vector)
        backend.delete(collection, [5, 6])
        assert backend.get(collection, [5, 6]) == []
        assert backend.count(collection) == 18
    with pytest.raises(NoCollection, match=collection):
        backend.count(collection)
    backend.drop(collection)  # again is well


def refuses_a_wrong_dimension(backend: Backend) -> None:
    with emptied(backend) as collection:
        backend.put(collection, SMALL.stored[:1])
        with pytest.raises(NotTaken, match=r"dim.*3"):
            backend.put(collection, [Row(2, (1.0, 2.0, 3.0))])
        assert backend.count(collection) == 1


def a_missing_collection_is_one_sentence(backend: Backend) -> None:
    with pytest.raises(NoCollection) as raised:
        backend.put("chaosgpu_nowhere", SMALL.stored[:1])
    assert "chaosgpu_nowhere" in str(raised.value)
    assert "\n" not in str(raised.value)
