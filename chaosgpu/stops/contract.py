# SPDX-License-Identifier: Apache-2.0
"""A stop condition as an object: it looks when it is called, and two of them are joined with | and &.

`elapsed | (wrong & slow)` stops when the time is up, or when the answer is both wrong and slow. A look that raises is
a reading that nobody has: met is None then, and whoever asks takes it for met.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import override

__all__ = ["AllOf", "AnyOf", "Leaf", "Reading", "Stop"]


@dataclass(frozen=True)
class Reading:
    """One look: whether the condition is met (None: nobody knows), and what was seen, as a sentence's part."""

    met: bool | None
    text: str


class Stop(ABC):
    """A condition, or several joined."""

    def __or__(self, other: "Stop") -> "AnyOf":
        """Stop when one of the two is met."""
        return AnyOf((self, other))

    def __and__(self, other: "Stop") -> "AllOf":
        """Stop when both are met."""
        return AllOf((self, other))

    @abstractmethod
    def leaves(self) -> Iterator["Leaf"]:
        """Yield the conditions that are joined in it."""

    @abstractmethod
    def judge(self, read: Callable[["Leaf"], Reading]) -> Reading:
        """Join what `read` says of each condition."""


class Leaf(Stop):
    """One condition. It is looked at from one thread alone, over and over, and may remember what it saw."""

    name: str
    # A look that takes longer is a reading that nobody has.
    within_s: float = 5.0

    @abstractmethod
    def __call__(self) -> Reading:
        """Look once."""

    @override
    def leaves(self) -> Iterator["Leaf"]:
        yield self

    @override
    def judge(self, read: Callable[["Leaf"], Reading]) -> Reading:
        return read(self)


@dataclass(frozen=True, eq=False)
class AnyOf(Stop):
    """Met when one part is; a part that nobody knows makes it unknown."""

    parts: tuple[Stop, ...]

    @override
    def leaves(self) -> Iterator[Leaf]:
        return _leaves(self.parts)

    @override
    def judge(self, read: Callable[[Leaf], Reading]) -> Reading:
        return _joined(self.parts, read, decides=True)


@dataclass(frozen=True, eq=False)
class AllOf(Stop):
    """Met when every part is; one that is known not to be met decides, whatever nobody knows of the others."""

    parts: tuple[Stop, ...]

    @override
    def leaves(self) -> Iterator[Leaf]:
        return _leaves(self.parts)

    @override
    def judge(self, read: Callable[[Leaf], Reading]) -> Reading:
        return _joined(self.parts, read, decides=False)


def _leaves(parts: Iterable[Stop]) -> Iterator[Leaf]:
    for part in parts:
        yield from part.leaves()


def _joined(parts: Iterable[Stop], read: Callable[[Leaf], Reading], *, decides: bool) -> Reading:
    readings = [part.judge(read) for part in parts]
    for wanted in (decides, None):
        found = next((reading for reading in readings if reading.met is wanted), None)
        if found is not None:
            return found
    return Reading(not decides, " and ".join(reading.text for reading in readings))
