# SPDX-License-Identifier: Apache-2.0
"""What a drill needs of the world around it, and how it ended."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.drill.command import Run, run_command
from chaosgpu.drill.notify import Post, post
from chaosgpu.drill.planfile import Written
from chaosgpu.drill.playing import Player
from chaosgpu.drill.record import Record
from chaosgpu.drill.room import Room
from chaosgpu.drill.site import Site
from chaosgpu.drill.syslog import log_line
from chaosgpu.lease.ids import Names
from chaosgpu.lease.verdict import Verdict

__all__ = ["Ended", "Means"]


@dataclass(frozen=True)
class Means:
    """What a drill needs of the world around it; tests pass their own."""

    site: Site
    record: Record
    player: Player
    # Raises Refused where a host is not free for the drill.
    look: Callable[[Written], None]
    room: Room
    operator: str
    names: Names = field(default_factory=Names)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    send: Post = post
    run: Run = run_command
    syslog: Callable[[str], None] = log_line
    # Why the drill itself was asked to stop, such as by a signal.
    stopped: Callable[[], str | None] = lambda: None

    @property
    def home(self) -> Path:
        """Where the folders of drills are."""
        return self.site.path(self.site.drills)


@dataclass(frozen=True)
class Ended:
    """How a drill ended."""

    name: str
    verdict: Verdict
    reason: str
    whole: bool
    folder: str
