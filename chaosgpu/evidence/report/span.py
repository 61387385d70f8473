# SPDX-License-Identifier: Apache-2.0
"""The time axis of a report, and the windows in which faults were in force on it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from chaosgpu.evidence.story import LeaseTimes, Story

__all__ = ["Span", "Window", "seconds_of", "span_of", "windows_of"]


@dataclass(frozen=True)
class Span:
    """From when to when a run is shown, in seconds of the epoch."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Return how long it is; never nothing, so that places can be counted."""
        return max(self.end_s - self.start_s, 1.0)

    def percent(self, at_s: float) -> float:
        """Return where a moment lies, from 0 to 100."""
        return round(min(max((at_s - self.start_s) / self.length_s, 0.0), 1.0) * 100, 3)


@dataclass(frozen=True)
class Window:
    """A time in which a fault was in force; open to the right where no end is recorded."""

    start_s: float
    end_s: float
    open: bool = False


def seconds_of(source: object) -> float | None:
    """Read a time: RFC 3339 text or seconds of the epoch."""
    if isinstance(source, bool):
        return None
    if isinstance(source, (int, float)):
        return float(source)
    try:
        moment = datetime.fromisoformat(str(source))
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def span_of(story: Story) -> Span:
    """Return the run from its start to its end, or to its ledger's last line."""
    start = seconds_of(story.started) or seconds_of(story.planned) or 0.0
    end = seconds_of(story.finished) or seconds_of(story.last) or start
    return Span(start, max(start, end))


def window_of(lease: LeaseTimes, span: Span) -> Window | None:
    """Return when a fault was in force, as the controller saw it."""
    start = seconds_of(lease.active)
    if start is None:
        return None
    end = None if lease.state == "stuck" else seconds_of(lease.ended)
    return Window(start, span.end_s if end is None else end, end is None)


def windows_of(story: Story, span: Span) -> list[Window]:
    """Return when any fault was in force: windows that touch are one."""
    found = sorted(
        (window for lease in story.leases if (window := window_of(lease, span)) is not None),
        key=lambda one: (one.start_s, one.end_s),
    )
    merged: list[Window] = []
    for window in found:
        if merged and window.start_s <= merged[-1].end_s:
            last = merged[-1]
            merged[-1] = Window(last.start_s, max(last.end_s, window.end_s), last.open or window.open)
        else:
            merged.append(window)
    return merged
