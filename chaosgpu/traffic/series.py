# SPDX-License-Identifier: Apache-2.0
"""Reads a generator's series and sums its seconds up; what the generator could not keep up with is void."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hdrh.histogram import HdrHistogram

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.fleet.values import JsonObject
from chaosgpu.traffic.sender import NOT_SENT
from chaosgpu.traffic.tally import histogram

__all__ = ["Figures", "Line", "Series", "read_series", "summed"]

# More requests late than this, and what was measured is the generator and not the service.
LATE_SHARE_MOST = 0.01
_US_PER_MS = 1000.0


@dataclass(frozen=True)
class Line:
    """One second of a series."""

    second: int
    at: float
    due: int
    ok: int
    late: int
    late_max_ms: float
    answered_max_ms: float
    errors: dict[str, int]
    statuses: dict[str, int]
    hdr: str
    wrong_because: str | None


@dataclass(frozen=True)
class Series:
    """All that is written so far; `ended` is None while the generator sends, or when it was killed."""

    path: Path
    name: str
    url: str
    started_at: float
    rate_per_s: float
    timeout_s: float
    lines: tuple[Line, ...]
    ended: str | None

    @property
    def until(self) -> float:
        """Up to when all requests are accounted for."""
        return self.lines[-1].at + 1 if self.lines else self.started_at

    def between(self, begin: float, end: float) -> list[Line]:
        """Return the seconds that lie wholly in a span of time."""
        return [line for line in self.lines if line.at >= begin and line.at + 1 <= end]

    def touching(self, begin: float, end: float) -> list[Line]:
        """Return the seconds of which a part lies in a span of time."""
        return [line for line in self.lines if line.at + 1 > begin and line.at < end]


@dataclass(frozen=True)
class Figures:
    """What users got in some seconds. Percentiles are None where nothing was answered and nothing timed out."""

    seconds: int
    due: int
    ok: int
    late: int
    late_max_ms: float
    answered_max_ms: float
    errors: dict[str, int]
    statuses: dict[str, int]
    wrong_because: str | None
    histogram: HdrHistogram = field(compare=False, repr=False)

    @property
    def error_percent(self) -> float:
        """The share of requests that did not get a right answer in time."""
        return 100.0 * (self.due - self.ok) / self.due if self.due else 0.0

    @property
    def throughput_per_s(self) -> float:
        """Right answers a second."""
        return self.ok / self.seconds if self.seconds else 0.0

    @property
    def wrong(self) -> int:
        """Answers that came and were not the known ones."""
        return self.errors.get("wrong", 0)

    @property
    def late_percent(self) -> float:
        """The share of requests that the generator sent late, or not at all."""
        return 100.0 * (self.late + self.errors.get(NOT_SENT, 0)) / self.due if self.due else 0.0

    @property
    def void(self) -> str | None:
        """Why these figures are none; None where they count."""
        if self.late_percent <= 100.0 * LATE_SHARE_MOST:
            return None
        return (
            f"the generator sent {self.late_percent:.1f} % of its requests late, by up to {self.late_max_ms:.0f} ms: "
            "the machine it runs on is too busy for this rate, so the figures are void"
        )

    def latency_ms(self, percent: float) -> float | None:
        """Return a percentile of the latency."""
        if not self.histogram.get_total_count():
            return None
        return float(self.histogram.get_value_at_percentile(percent)) / _US_PER_MS

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer."""
        errors: JsonObject = dict(self.errors)
        statuses: JsonObject = dict(self.statuses)
        return {
            "seconds": self.seconds,
            "due": self.due,
            "ok": self.ok,
            "throughput_per_s": round(self.throughput_per_s, 3),
            "error_percent": round(self.error_percent, 3),
            "errors": errors,
            "statuses": statuses,
            "wrong": self.wrong,
            "wrong_because": self.wrong_because,
            **{f"p{percent}_ms": self.latency_ms(percent) for percent in (50, 95, 99)},
            "max_ms": self.latency_ms(100),
            "late_percent": round(self.late_percent, 3),
            "late_max_ms": self.late_max_ms,
            "answered_max_ms": self.answered_max_ms,
            "void": self.void,
        }


def read_series(path: Path) -> Series:
    """Read a series; a last line that is still being written is left out."""
    try:
        text = path.read_text()
    except OSError as error:
        raise BadArgument(f"The traffic's series {path} cannot be read: {error.strerror}.") from error
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    try:
        head, *rest = [json.loads(line) for line in lines]
        ended = rest.pop()["ended"] if rest and "ended" in rest[-1] else None
        seconds = tuple(Line(**{key: one.get(key) for key in Line.__dataclass_fields__}) for one in rest)
        return Series(
            path, head["name"], head["url"], head["started_at"], head["rate_per_s"], head["timeout_s"], seconds, ended
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ReadingUnknown(f"{path} is no series of the traffic generator, or it has only just begun.") from error


def summed(lines: Sequence[Line], timeout_s: float) -> Figures:
    """Sum seconds up: percentiles come from all their requests together, not from their own percentiles."""
    whole = histogram(int(timeout_s * 1e6 * 1.1))
    for line in lines:
        whole.add(HdrHistogram.decode(line.hdr))
    return Figures(
        seconds=len(lines),
        due=sum(line.due for line in lines),
        ok=sum(line.ok for line in lines),
        late=sum(line.late for line in lines),
        late_max_ms=max((line.late_max_ms for line in lines), default=0.0),
        answered_max_ms=max((line.answered_max_ms for line in lines), default=0.0),
        errors=_together(line.errors for line in lines),
        statuses=_together(line.statuses for line in lines),
        wrong_because=next((line.wrong_because for line in lines if line.wrong_because), None),
        histogram=whole,
    )


def _together(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in counts:
        found.update(one)
    return dict(found)
