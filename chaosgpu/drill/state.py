# SPDX-License-Identifier: Apache-2.0
"""The folder of one drill on the controller: what it is at, who wants it to stop, and whether it lives.

It is for `status` and `stop`; the record that counts is the evidence log.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.directory import alive, keep_alive, write_json

__all__ = ["DrillFolder", "Part", "every_drill", "named_drill"]

_STATE, _STOP = "state.json", "stop.json"


@dataclass
class Part:
    """One experiment of a drill, as far as it has come."""

    file: str
    title: str
    deadline_s: float
    attempt: str = ""
    state: str = "waits"
    run: str = ""
    verdict: str = ""
    reason: str = ""

    def as_json(self) -> JsonObject:
        """Return it for the file."""
        return {**vars(self)}


@dataclass
class DrillFolder:
    """The folder, and what it says."""

    path: Path
    said: JsonObject = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The drill's own name."""
        return self.path.name

    def keep(self, **changes: JsonValue) -> None:
        """Write down where the drill stands."""
        self.said.update(changes)
        write_json(self.path / _STATE, self.said)

    def load(self) -> "DrillFolder":
        """Read what it says; nothing where that cannot be read."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
            self.said = found if isinstance(found, dict) else {}
        return self

    @contextlib.contextmanager
    def living(self) -> Iterator[None]:
        """Hold the kernel's lock that says that this drill lives."""
        self.path.mkdir(mode=0o700, parents=True)
        with keep_alive(self.path):
            yield

    @property
    def lives(self) -> bool:
        """Tell whether its process is there."""
        return alive(self.path)

    def ask_to_stop(self, by: str, reason: str) -> None:
        """Ask the drill to stop in order; it looks several times a second."""
        write_json(self.path / _STOP, {"by": by, "reason": reason})

    def why_stop(self) -> str | None:
        """Return who asked it to stop, and why."""
        try:
            found = json.loads((self.path / _STOP).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            return f"somebody asked it to stop, and the file cannot be read ({error})"
        return f"stopped by {found.get('by')}: {found.get('reason')}" if isinstance(found, dict) else "stopped"

    def ended_within(self, seconds: float, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Wait for its process to end."""
        until = time.monotonic() + seconds
        while self.lives:
            if time.monotonic() > until:
                return False
            sleep(0.2)
        return True


def every_drill(home: Path) -> list[DrillFolder]:
    """List the drills of this controller, the newest first."""
    if not home.is_dir():
        return []
    folders = sorted((path for path in home.iterdir() if path.is_dir()), reverse=True)
    return [DrillFolder(path).load() for path in folders]


def named_drill(home: Path, name: str | None) -> DrillFolder:
    """Find a drill by the beginning of its name; without one, the only one that lives, else the newest."""
    every = every_drill(home)
    if name is None:
        living = [one for one in every if one.lives]
        if len(living) > 1:
            raise BadArgument(
                f"{len(living)} drills are under way ({', '.join(one.name for one in living)}): name one."
            )
        every = living or every
        if not every:
            raise BadArgument(f"There is no drill in {home}: nothing was run from here yet.")
        return every[0]
    found = [one for one in every if name in (one.name, one.said.get("drill")) or one.name.startswith(name)]
    if not found:
        raise BadArgument(f"There is no drill {name!r} in {home}{os.sep}.")
    living = [one for one in found if one.lives]
    return (living or found)[0]
