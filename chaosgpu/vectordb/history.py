# SPDX-License-Identifier: Apache-2.0
"""A history of writes and reads, on disk as it happens: what was asked, and what became of it.

A write is acknowledged (the database said that it is done), failed (it was certainly not done) or unknown (the
connection broke, the time was over, the server was in error: it may be done, now or later). Vectors are not kept: each
follows from its row, its version and the seed in the first line.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb.backends.contract import Vector
from chaosgpu.vectordb.known_set import as_stored, same, vector_of

__all__ = ["Asked", "Ended", "Header", "History", "Identifier", "Recorder", "Seen", "read_history"]

_FORMAT = 1
_OUTCOMES = ("acknowledged", "failed", "unknown")
_DOES = ("put", "delete", "get")


@dataclass(frozen=True)
class Header:
    """The first line: what is needed to know every vector again, and where they were written."""

    seed: int
    dimension: int
    collection: str
    kind: str


@dataclass(frozen=True)
class Seen:
    """A stored vector as it was read: the row and version that it is a vector of; both None for one of nobody."""

    row: int | None
    version: int | None


@dataclass(frozen=True)
class Asked:
    """Something was asked: rows with the version that each is given (0 where it is read or deleted)."""

    op: int
    do: str
    rows: tuple[tuple[int, int], ...]
    at_s: float


@dataclass(frozen=True)
class Ended:
    """What became of it; for a read that was answered, what each row was."""

    op: int
    outcome: str
    at_s: float
    seen: tuple[tuple[int, tuple[Seen, ...]], ...] = ()


@dataclass(frozen=True)
class History:
    """All of it, in the order in which it was written down."""

    header: Header
    events: tuple[Asked | Ended, ...]


class Identifier:
    """Knows whose vector one is: of the row that it was found under, or of another."""

    def __init__(self, seed: int, dimension: int) -> None:
        """Begin with nothing known."""
        self._seed, self._dimension = seed, dimension
        self._known: dict[Vector, list[tuple[int, int, Vector]]] = {}

    def expect(self, row: int, version: int) -> Vector:
        """Return a row's vector of a version, and know it from now on."""
        vector = vector_of(self._seed, row, version, self._dimension)
        entries = self._known.setdefault(self._key(vector), [])
        if (row, version, vector) not in entries:
            entries.append((row, version, vector))
        return vector

    def identify(self, vector: Vector) -> Seen:
        """Say whose vector this is."""
        for row, version, meant in self._known.get(self._key(vector), ()):
            if same(vector, meant):
                return Seen(row, version)
        return Seen(None, None)

    @staticmethod
    def _key(vector: Vector) -> Vector:
        # Databases give decimals of their own choice: as float32 they are the same again.
        return as_stored(vector[:3])


class Recorder:
    """Appends to a history from several threads; each line is with the kernel before its deed begins or is believed."""

    def __init__(self, file: TextIO, header: Header, now: Callable[[], float] = time.monotonic) -> None:
        """Write the header."""
        self._file, self._now = file, now
        self._lock = threading.Lock()
        self._ops = 0
        self._write({"format": _FORMAT, **asdict(header)})

    def asked(self, do: str, rows: Sequence[tuple[int, int]]) -> int:
        """Note what is about to be asked, and return its number."""
        with self._lock:
            self._ops += 1
            op = self._ops
            self._write({"op": op, "do": do, "rows": [list(row) for row in rows], "at_s": self._now()})
        return op

    def ended(self, op: int, outcome: str, seen: Sequence[tuple[int, Sequence[Seen]]] = ()) -> None:
        """Note what became of it."""
        line: JsonObject = {"op": op, "outcome": outcome, "at_s": self._now()}
        if seen:
            line["seen"] = [[row, [[one.row, one.version] for one in found]] for row, found in seen]
        with self._lock:
            self._write(line)

    def _write(self, line: JsonObject) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read_history(path: Path) -> History:
    """Read a history; a torn last line is what a kill leaves and is left out, any other is an error."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise BadArgument(f"The history {path} cannot be read: {error.strerror}.") from error
    torn = lines.pop()  # empty where the last line is whole
    try:
        head = json.loads(lines[0])
        if head.pop("format") != _FORMAT:
            raise BadArgument(f"The history {path} is of another version.")
        return History(Header(**head), tuple(_events(lines[1:])))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        words = " and it ends in the middle of one" if torn else ""
        raise BadArgument(f"The history {path} is damaged: {error}; it has {len(lines)} lines{words}.") from error


def _events(lines: Sequence[str]) -> Iterator[Asked | Ended]:
    for number, text in enumerate(lines, 2):
        line = json.loads(text)
        if "do" in line and line["do"] in _DOES:
            rows = tuple((int(row), int(version)) for row, version in line["rows"])
            yield Asked(int(line["op"]), line["do"], rows, float(line["at_s"]))
        elif line.get("outcome") in _OUTCOMES:
            seen = tuple((int(row), tuple(Seen(*one) for one in found)) for row, found in line.get("seen", []))
            yield Ended(int(line["op"]), line["outcome"], float(line["at_s"]), seen)
        else:
            raise ValueError(f"line {number} is neither a question nor an end")
