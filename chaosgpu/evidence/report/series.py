# SPDX-License-Identifier: Apache-2.0
"""What a run has sampled, as lines over time: each number of a series, and each yes or no."""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaosgpu.evidence.report.span import Span, seconds_of
from chaosgpu.evidence.story import Story
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["Line", "series_of"]

_FOLDER = "run/series/"
_TIMES = ("at", "after_s", "at_s", "t_s")
_NOT_SHOWN = frozenset({*_TIMES, "second"})
_MOST_OF_A_FILE = 8
_US_PER_MS = 1000.0


@dataclass(frozen=True)
class Line:
    """One quantity over time; `truth` where it is a yes or no."""

    file: str
    name: str
    points: tuple[tuple[float, float], ...]
    truth: bool = False


def series_of(files: Mapping[str, bytes], story: Story, span: Span) -> list[Line]:
    """Read every series in the order of the files' names."""
    found: list[Line] = []
    for name in sorted(files):
        if name.startswith(_FOLDER) and name.endswith(".jsonl"):
            found += _lines(name.removeprefix(_FOLDER), files[name], _begins(name, story, span))[:_MOST_OF_A_FILE]
    return found


def _begins(name: str, story: Story, span: Span) -> float:
    """Return when a file's seconds count from: the start of the probe that names it, else that of the run."""
    file = name.rpartition("/")[2]
    for check in story.checks:
        at = seconds_of(check.at)
        if at is not None and file in json.dumps(check.output, ensure_ascii=False):
            return at - check.duration_s
    return span.start_s


def _lines(file: str, content: bytes, begins: float) -> list[Line]:
    """Collect each quantity of a file in the order in which it first comes."""
    points: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for entry in _entries(content):
        at = _time(entry, begins)
        if at is None:
            continue
        for key, value in {**_latencies(entry), **entry}.items():
            said = _value(value)
            if said is not None and key not in _NOT_SHOWN:
                points.setdefault((key, isinstance(value, bool)), []).append((at, said))
    return [Line(file, key, tuple(sorted(found)), truth) for (key, truth), found in points.items() if len(found) > 1]


def _entries(content: bytes) -> Iterator[JsonObject]:
    for line in content.decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _time(entry: JsonObject, begins: float) -> float | None:
    for key in _TIMES:
        value = entry.get(key)
        if value is not None:
            at = seconds_of(value)
            return None if at is None or not math.isfinite(at) else at if key == "at" else begins + at
    return None


def _latencies(entry: JsonObject) -> JsonObject:
    """Return the percentiles of a second whose latencies are kept as a histogram of microseconds."""
    coded = entry.get("hdr")
    if not isinstance(coded, str):
        return {}
    from hdrh.codec import HdrCookieException, HdrLengthException  # noqa: PLC0415 (only runs with traffic need it)
    from hdrh.histogram import HdrHistogram  # noqa: PLC0415 (likewise)

    try:
        found = HdrHistogram.decode(coded)
    except (ValueError, IndexError, zlib.error, HdrCookieException, HdrLengthException):
        return {}
    if not found.get_total_count():
        return {}
    return {f"latency_p{one}_ms": found.get_value_at_percentile(one) / _US_PER_MS for one in (50, 99)}


def _value(value: JsonValue) -> float | None:
    """Return a number; of a table of numbers, such as errors by kind, their sum."""
    found: float | None = None
    if isinstance(value, (bool, int, float)):
        found = float(value)
    elif isinstance(value, dict) and all(isinstance(one, (int, float)) for one in value.values()):
        found = float(sum(one for one in value.values() if isinstance(one, (int, float))))
    return found if found is not None and math.isfinite(found) else None
