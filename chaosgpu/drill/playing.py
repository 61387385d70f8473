# SPDX-License-Identifier: Apache-2.0
"""The seam between a drill and what plays one experiment: in earnest `chaos run` as a child, in tests whatever."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Played", "Player", "Step"]


@dataclass(frozen=True)
class Step:
    """One experiment to be played."""

    experiment: Path
    settings: tuple[str, ...]
    # After `deadline_s` it is asked to stop in order, and `undo_s` later it is ended.
    deadline_s: float
    undo_s: float
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Played:
    """How it ended; `directory` is None where there is no record of a run."""

    directory: Path | None
    verdict: str
    reason: str
    # What is not as it was, by host.
    left: Mapping[str, str] = field(default_factory=dict)
    # Why it was stopped before its end.
    stopped: str | None = None


class Player(Protocol):
    """Plays one step to its end. `why_stop` is asked several times a second; `say` takes each line of the run."""

    def __call__(self, step: Step, why_stop: Callable[[], str | None], say: Callable[[str], None]) -> Played:
        """Play it."""
