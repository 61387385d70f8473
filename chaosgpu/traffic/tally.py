# SPDX-License-Identifier: Apache-2.0
"""What became of the requests that were due in one second, written as one line once the last of them has ended."""

import json
from collections import Counter
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

__all__ = ["DIGITS", "Second", "histogram", "percentile"]

# Three significant digits: a percentile is right to a tenth of a percent.
DIGITS = 3
_US = 1_000_000
_SHORTEST_TOP_US = 10 * _US


def histogram(top_us: int) -> HdrHistogram:
    """Make a histogram of microseconds."""
    return HdrHistogram(1, max(_SHORTEST_TOP_US, top_us), DIGITS)


def percentile(ordered: list[float], percent: float) -> float:
    """Return a percentile of sorted values: the smallest that so many percent do not exceed."""
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


@dataclass
class Second:
    """One second of the schedule. Latency counts from when a request was due; one that timed out took the timeout."""

    number: int
    due: int = 0
    open: int = 0
    ok: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong_because: str | None = None
    late: int = 0
    late_most_s: float = 0.0
    # The longest time from sending to any answer at all, a refusal too; what had none took the timeout.
    answered_most_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    service_s: list[float] = field(default_factory=list)

    def line(self, started_at: float, timeout_s: float) -> str:
        """Write it down; `hdr` holds all its latencies in HdrHistogram's own coding."""
        recorded = histogram(int(timeout_s * _US * 1.1))
        for latency in self.latencies_s:
            recorded.record_value(max(1, round(latency * _US)))
        found: dict[str, object] = {
            "second": self.number,
            "at": round(started_at + self.number, 3),
            "due": self.due,
            "ok": self.ok,
            "errors": dict(self.errors),
        }
        ordered, service = sorted(self.latencies_s), sorted(self.service_s)
        for percent in (50, 95, 99, 100):
            name = "max_ms" if percent == 100 else f"p{percent}_ms"  # noqa: PLR2004 (the whole)
            found[name] = _ms(percentile(ordered, percent)) if ordered else None
        found["service_p99_ms"] = _ms(percentile(service, 99)) if service else None
        found |= {
            "answered_max_ms": _ms(self.answered_most_s),
            "late": self.late,
            "late_max_ms": _ms(self.late_most_s),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "hdr": recorded.encode().decode(),
        }
        if self.wrong_because is not None:
            found["wrong_because"] = self.wrong_because
        return json.dumps(found)


def _ms(span_s: float) -> float:
    return round(span_s * 1000, 3)
