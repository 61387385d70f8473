# SPDX-License-Identifier: Apache-2.0
"""A database in memory that does what it says, searches exactly, and can be told to give each neighbour twice."""

import math
from collections.abc import Sequence

from chaosgpu.vectordb.backends.contract import Hit, NoCollection, Row, Vector


class HonestStore:
    """A backend without a server."""

    name = "honest"

    def __init__(self) -> None:
        self.collections: dict[str, dict[int, Vector]] = {}
        self.doubled = False

    def healthy(self) -> bool:
        return True

    def version(self) -> str:
        return "0"

    def _of(self, collection: str) -> dict[int, Vector]:
        if collection not in self.collections:
            raise NoCollection(f"There is no {collection}.")
        return self.collections[collection]

    def count(self, collection: str) -> int:
        return len(self._of(collection))

    def create(self, collection: str, dimension: int) -> None:
        del dimension
        self.collections[collection] = {}

    def drop(self, collection: str) -> None:
        self.collections.pop(collection, None)

    def open(self, collection: str) -> None:
        self._of(collection)

    def put(self, collection: str, rows: Sequence[Row]) -> None:
        self._of(collection).update({row.id: row.vector for row in rows})

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        for one in ids:
            self._of(collection).pop(one, None)

    def get(self, collection: str, ids: Sequence[int]) -> list[Row]:
        rows = self._of(collection)
        return [Row(one, rows[one]) for one in ids if one in rows]

    def search(self, collection: str, vector: Vector, k: int) -> list[Hit]:
        far = sorted((math.dist(vector, other), one) for one, other in self._of(collection).items())
        hits = [Hit(one, distance) for distance, one in far]
        return sorted([*hits, *hits], key=lambda hit: hit.distance or 0)[:k] if self.doubled else hits[:k]

    def close(self) -> None:
        pass
