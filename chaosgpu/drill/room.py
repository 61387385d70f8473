# SPDX-License-Identifier: Apache-2.0
"""What a room watches while a drill goes on: a table that stands on a terminal, plain lines everywhere else."""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from chaosgpu.drill.state import Part
from chaosgpu.lease.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["PlainRoom", "RichRoom", "Room", "room_of"]

_LINES = 8
_COLOURS = {"passed": "green", "deviated": "yellow", "inconclusive": "magenta", "unsafe": "bold white on red"}


class Room(Protocol):
    """Who watches."""

    def begins(self, head: Mapping[str, str], parts: Sequence[Part]) -> None:
        """Say what begins, for whom, and how it is stopped."""

    def line(self, text: str) -> None:
        """Take one line of a run."""

    def changed(self) -> None:
        """Look at the parts again."""

    def ends(self, verdict: Verdict, reason: str, untold: Sequence[str]) -> None:
        """Say how it ended."""


class PlainRoom:
    """Lines, each of which says all of itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._parts: Sequence[Part] = ()
        self._shown: list[str] = []

    def begins(self, head: Mapping[str, str], parts: Sequence[Part]) -> None:
        """Print the head and the experiments."""
        for key, value in head.items():
            self._write(f"DRILL {key}: {value}")
        self._parts, self._shown = parts, [part.state for part in parts]
        for number, part in enumerate(parts, start=1):
            self._write(f"DRILL {number}/{len(parts)} {part.title} ({part.file}), at most {part.deadline_s / 60:g} min")

    def line(self, text: str) -> None:
        """Print it as it is."""
        self._write(text)

    def changed(self) -> None:
        """Print the parts whose state is another one."""
        for number, part in enumerate(self._parts, start=1):
            if self._shown[number - 1] != part.state:
                self._shown[number - 1] = part.state
                ended = f": {part.verdict}, {part.reason}" if part.verdict else ""
                self._write(f"DRILL {number}/{len(self._parts)} {part.state}{ended}")

    def ends(self, verdict: Verdict, reason: str, untold: Sequence[str]) -> None:
        """Print the verdict."""
        for one in untold:
            self._write(f"DRILL {one}")
        self._write(f"DRILL VERDICT {verdict}: {reason}")

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class RichRoom:
    """A picture that stands: who and where, each experiment with its time, the last lines, and the verdict."""

    def __init__(self) -> None:
        self._head: Mapping[str, str] = {}
        self._parts: Sequence[Part] = ()
        self._since: dict[str, float] = {}
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._faults: dict[str, str] = {}
        self._end: tuple[Verdict, str, Sequence[str]] | None = None

    def begins(self, head: Mapping[str, str], parts: Sequence[Part]) -> None:
        """Take them up."""
        self._head, self._parts = head, parts
        self.changed()

    def line(self, text: str) -> None:
        """Keep the last lines, and which faults are in force."""
        self._lines.append(text)
        for word, in_force in ((" FAULT ", True), (" UNDONE ", False), (" NEVER IN FORCE ", False)):
            _, found, rest = text.partition(word)
            lease = rest.rpartition("(")[2].rstrip(")")
            if found and in_force:
                self._faults[lease] = rest
            elif found:
                self._faults.pop(lease, None)
        self.changed()

    def changed(self) -> None:
        """Note when a part began; it is drawn anew several times a second in any case."""
        for part in self._parts:
            if part.state == "runs":
                self._since.setdefault(part.attempt, time.monotonic())

    def ends(self, verdict: Verdict, reason: str, untold: Sequence[str]) -> None:
        """Show the verdict."""
        self._end = (verdict, reason, untold)
        self.changed()

    def picture(self) -> "RenderableType":
        """Return what is shown."""
        from rich.console import Group  # noqa: PLC0415 (slow to load)
        from rich.panel import Panel  # noqa: PLC0415 (likewise)
        from rich.table import Table  # noqa: PLC0415 (likewise)
        from rich.text import Text  # noqa: PLC0415 (likewise)

        head = Table.grid(padding=(0, 2))
        for key, value in self._head.items():
            head.add_row(Text(key, style="bold"), Text(value))
        table = Table("", "experiment", "state", "time", "verdict", expand=True)
        for number, part in enumerate(self._parts, start=1):
            colour = _COLOURS.get(part.verdict, "")
            table.add_row(
                str(number), Text(part.title), part.state, self._time(part), Text(part.verdict or "-", style=colour)
            )
        shown: list[RenderableType] = [head, table]
        shown += [Panel(Text(fault), title="IN FORCE", border_style="red") for fault in [*self._faults.values()]]
        if self._end is None:
            lines = Text("\n".join([*self._lines]) or " ", no_wrap=True, overflow="ellipsis")
            shown.append(Panel(lines, title="what the run says", height=_LINES + 2))
        else:
            verdict, reason, untold = self._end
            text = Text("\n".join([reason, *untold]))
            shown.append(Panel(text, title=verdict.value.upper(), border_style=_COLOURS.get(verdict.value, "")))
        return Group(*shown)

    def _time(self, part: Part) -> str:
        since = self._since.get(part.attempt)
        if since is None:
            return f"at most {part.deadline_s / 60:g} min"
        if part.state != "runs":
            return "over"
        passed = int(time.monotonic() - since)
        return f"{passed // 60}:{passed % 60:02} of {part.deadline_s / 60:g} min"


@contextlib.contextmanager
def room_of(stream: TextIO = sys.stdout) -> Iterator[Room]:
    """Return a picture for a terminal, and lines for all else."""
    if not stream.isatty():
        yield PlainRoom(stream)
        return
    from rich.console import Console  # noqa: PLC0415 (slow to load)
    from rich.live import Live  # noqa: PLC0415 (likewise)

    room = RichRoom()
    with Live(console=Console(file=stream), get_renderable=room.picture, refresh_per_second=4):
        yield room
