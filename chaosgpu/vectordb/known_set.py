# SPDX-License-Identifier: Apache-2.0
"""A known set of vectors: the same for the same seed on every machine, with exact neighbours by plain arithmetic."""

import heapq
import math
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chaosgpu.vectordb.backends.contract import Row, Vector

__all__ = ["KnownSet", "as_stored", "same", "vector_of", "well_formed"]

# What two readings of one stored float32 may differ by: one step of its mantissa, for databases that give decimals.
_RELATIVE = 2.0**-22


def as_stored(values: Sequence[float]) -> Vector:
    """Round to float32, which is what every one of the databases stores."""
    return tuple(array("f", values))


def vector_of(seed: int, row: int, version: int, dimension: int) -> Vector:
    """Return the vector that is meant by a row and a version: nothing else needs to be kept to know it again."""
    rng = random.Random(f"{seed}/{row}/{version}")  # noqa: S311 (known on purpose, not a secret)
    return as_stored([rng.gauss(0.0, 1.0) for _ in range(dimension)])


def well_formed(vector: Vector, dimension: int) -> bool:
    """Say whether a vector has the right length and finite numbers only."""
    return len(vector) == dimension and all(map(math.isfinite, vector))


def same(found: Vector, meant: Vector) -> bool:
    """Say whether a vector that was read is the one that was written."""
    return len(found) == len(meant) and all(
        abs(one - other) <= _RELATIVE * abs(other) for one, other in zip(found, meant, strict=True)
    )


@dataclass(frozen=True)
class KnownSet:
    """`rows` vectors of `dimension` numbers, `queries` questions, and for each the `k` exact nearest of them."""

    seed: int = 1
    rows: int = 2000
    dimension: int = 32
    queries: int = 50
    k: int = 10

    @cached_property
    def stored(self) -> tuple[Row, ...]:
        """The rows as they are written; their ids begin at 1."""
        return tuple(Row(one, vector_of(self.seed, one, 0, self.dimension)) for one in range(1, self.rows + 1))

    @cached_property
    def questions(self) -> tuple[Vector, ...]:
        """Vectors that are not stored."""
        return tuple(vector_of(self.seed, -1 - one, 0, self.dimension) for one in range(self.queries))

    @cached_property
    def neighbours(self) -> tuple[frozenset[int], ...]:
        """The ids of the exact nearest of each question."""
        return tuple(frozenset(id_ for _, id_ in self.nearest(question)) for question in self.questions)

    def nearest(self, question: Vector) -> list[tuple[float, int]]:
        """Return the squared distance and the id of the k nearest rows, the nearest first."""
        own = math.sumprod(question, question)
        far = (
            (own - 2 * math.sumprod(question, row.vector) + length, row.id)
            for row, length in zip(self.stored, self._lengths, strict=True)
        )
        return heapq.nsmallest(self.k, far)

    @cached_property
    def _lengths(self) -> tuple[float, ...]:
        return tuple(math.sumprod(row.vector, row.vector) for row in self.stored)
