# SPDX-License-Identifier: Apache-2.0
"""What a database must be able to do for us, and the errors by which we know what became of a request.

A write that fails is one of two: it was certainly not done (BadArgument, NotTaken, Refused, NotReached), or nobody
knows (TooSlow, any other Unreachable, AnswerWrong). The history of writes stands on this difference.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chaosgpu.errors import BadArgument, Refused, Unreachable

__all__ = [
    "OURS",
    "Backend",
    "Hit",
    "NoCollection",
    "NotTaken",
    "Row",
    "TooSlow",
    "Vector",
    "collection_name",
    "own_collection",
]

type Vector = tuple[float, ...]

# Whatever we create, write to or drop has a name that begins like this: never a user's own collection.
OURS = "chaosgpu_"
# What every one of the databases takes as a name, PostgreSQL's length of an identifier included.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{2,62}")


class NoCollection(BadArgument):
    """The database has no collection of that name."""


class NotTaken(Refused):
    """The database refused a request for what was in it; it did nothing."""


class TooSlow(Unreachable):
    """The deadline passed before the whole answer was there."""


@dataclass(frozen=True)
class Row:
    """One stored vector."""

    id: int
    vector: Vector


@dataclass(frozen=True)
class Hit:
    """One neighbour that a search returned; the distance is None where the database gave none that is a number."""

    id: int
    distance: float | None


class Backend(Protocol):
    """One database. Every call ends within the seconds that it was connected with; distances are Euclidean."""

    @property
    def name(self) -> str:
        """The word by which experiments name this kind of database."""

    def healthy(self) -> bool:
        """Ask the database's own health check. It says nothing about whether answers are right."""

    def version(self) -> str:
        """Return what the database says of its version."""

    def count(self, collection: str) -> int:
        """Return how many vectors the database says that a collection has."""

    def create(self, collection: str, dimension: int) -> None:
        """Make an empty collection with an approximate index over Euclidean distance."""

    def drop(self, collection: str) -> None:
        """Remove a collection; one that is not there is well."""

    def open(self, collection: str) -> None:
        """Do what a client does before it reads after a restart of the database; most need nothing."""

    def put(self, collection: str, rows: Sequence[Row]) -> None:
        """Write vectors, over older ones of the same ids; it returns once the database has acknowledged them."""

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Delete vectors."""

    def get(self, collection: str, ids: Sequence[int]) -> list[Row]:
        """Return the stored rows of these ids: none for one that is not there, two for one that is there twice."""

    def search(self, collection: str, vector: Vector, k: int) -> list[Hit]:
        """Return the nearest neighbours through the database's index, the nearest first."""

    def close(self) -> None:
        """Let go of connections."""


def collection_name(name: object) -> str:
    """Check the name of a collection."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadArgument(f"collection must be a letter and then 2 to 62 letters, digits or underscores, not {name!r}.")
    return name


def own_collection(name: object) -> str:
    """Check the name of a collection that we write to: it must be one of ours."""
    known = collection_name(name)
    if not known.startswith(OURS):
        raise BadArgument(
            f"collection must begin with {OURS}, not {known!r}: chaosgpu writes to collections of its own and never to "
            "yours."
        )
    return known
