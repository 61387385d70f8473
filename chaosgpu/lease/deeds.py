# SPDX-License-Identifier: Apache-2.0
"""What a run did to hosts that is no lease of an agent, such as taking one out of service, and how it is put back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Deed", "Settled"]


@dataclass(frozen=True)
class Settled:
    """What came of it, as sentences for the verdict."""

    # Something is not as it was, or nobody knows: the run is unsafe.
    not_restored: tuple[str, ...] = ()
    # Of these, what somebody has to come back for: not put back, and not put aside either.
    unfinished: tuple[str, ...] = ()
    # The experiment counts on something that was not so: the run proves nothing.
    unproved: tuple[str, ...] = ()
    # Why the method was not played.
    stopped: str | None = None
    # What the experiment has done, in words, as a part of what it broke.
    done: tuple[str, ...] = ()
    # Hosts that are not as they were, each with the reason: they must not be given back to their users.
    spoilt: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: "Settled") -> "Settled":
        """Join what came of two."""
        return Settled(
            (*self.not_restored, *other.not_restored),
            (*self.unfinished, *other.unfinished),
            (*self.unproved, *other.unproved),
            self.stopped or other.stopped,
            (*self.done, *other.done),
            {**self.spoilt, **other.spoilt},
        )


class Deed(Protocol):
    """Something that has to be put back, whatever the ending."""

    # Whether the rollback `undo_all` puts it back; else the end of the run does, after everything else.
    with_rollbacks: bool
    # In which order: the lowest comes first.
    rank: int

    def put_back(self, by: str) -> None:
        """Put back what is not yet; again is harmless. What cannot be put back is told by `settled`, never raised."""

    def settled(self) -> Settled:
        """Say what came of it so far."""
