# SPDX-License-Identifier: Apache-2.0
"""What the report draws: time axis, windows of faults, and every kind of series."""

import json

import pytest
from hdrh.histogram import HdrHistogram

from chaosgpu.evidence.contents import read_contents
from chaosgpu.evidence.report.chart import plot
from chaosgpu.evidence.report.outcome import charts
from chaosgpu.evidence.report.series import Line, series_of
from chaosgpu.evidence.report.span import Span, Window, span_of, windows_of
from chaosgpu.evidence.report.text import brief, duration, number
from chaosgpu.evidence.story import Check, LeaseTimes, Story

AT = "2026-11-02T09:00:{:02d}.000Z"
ZERO_S = 1793610000.0


def _story(*leases: LeaseTimes, checks: tuple[Check, ...] = ()) -> Story:
    return Story(started=AT.format(0), finished=AT.format(50), last=AT.format(50), leases=leases, checks=checks)


def _lease(start: int, end: int | None, state: str = "clean") -> LeaseTimes:
    ended = None if end is None else AT.format(end)
    return LeaseTimes("l", "gpu1", active=AT.format(start), ended=ended, state=state)


def test_windows_that_touch_are_one_and_one_without_an_end_stays_open() -> None:
    story = _story(_lease(5, 10), _lease(8, 20), _lease(30, None, "active"))
    span = span_of(story)
    assert windows_of(story, span) == [
        Window(ZERO_S + 5, ZERO_S + 20),
        Window(ZERO_S + 30, ZERO_S + 50, open=True),
    ]


def test_a_stuck_fault_is_in_force_to_the_end() -> None:
    story = _story(_lease(5, 10, "stuck"))
    assert windows_of(story, span_of(story)) == [Window(ZERO_S + 5, ZERO_S + 50, open=True)]


def test_a_series_begins_with_the_probe_that_names_it() -> None:
    check = Check(AT.format(20), "watch", "probe", "method", "succeeded", 15.0, {"series": "/x/watch-1.jsonl"}, None)
    content = b'{"after_s": 0, "used_mib": 1, "ready": true}\n{"after_s": 2, "used_mib": 3, "ready": false}\n{"torn'
    story = _story(checks=(check,))
    lines = series_of({"run/series/watch-1.jsonl": content}, story, span_of(story))
    assert lines[0] == Line("watch-1.jsonl", "used_mib", ((ZERO_S + 5, 1.0), (ZERO_S + 7, 3.0)))
    assert lines[1].truth


def test_seconds_of_traffic_are_drawn_with_their_percentiles_and_all_errors() -> None:
    histogram = HdrHistogram(1, 60_000_000, 3)
    histogram.record_value(20_000)
    hdr = histogram.encode().decode()
    one = {"second": 0, "at": ZERO_S + 1, "ok": 5, "errors": {"timeout": 1, "wrong": 2}, "hdr": hdr}
    lines = [
        {"name": "traffic", "rate_per_s": 5},
        one,
        {**one, "at": ZERO_S + 2, "hdr": "no histogram"},
        {**one, "at": ZERO_S + 3},
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    story = _story()
    found = {
        line.name: line.points for line in series_of({"run/series/traffic-1.jsonl": content}, story, span_of(story))
    }
    assert found["errors"] == ((ZERO_S + 1, 3.0), (ZERO_S + 2, 3.0), (ZERO_S + 3, 3.0))
    assert [at for at, _ in found["latency_p99_ms"]] == [ZERO_S + 1, ZERO_S + 3]
    assert found["latency_p50_ms"][0][1] == pytest.approx(20.0, rel=0.01)
    assert "second" not in found


def test_what_never_changes_is_said_and_not_drawn() -> None:
    content = b"".join(b'{"after_s": %d, "late": 0, "ok": %d}\n' % (second, second) for second in range(3))
    contents = read_contents({"run/series/traffic-1.jsonl": content})
    page = charts(contents, Span(0.0, 10.0), [])
    assert "Always the same: late 0 (traffic-1.jsonl)." in page
    assert page.count("<polyline") == 1


def test_a_chart_keeps_the_highest_and_lowest_of_many_points_and_is_escaped() -> None:
    points = tuple((float(at), 1.0 if at != 7777 else 99.0) for at in range(20_000))
    drawn = plot(Line("<f>", "x_ms", points), Span(0.0, 20_000.0), [Window(5.0, 10.0)])
    assert "<f>" not in drawn
    assert 'class="window"' in drawn
    assert drawn.count(",") < 4000
    assert " 388.9,4 " in drawn  # the one high point
    assert "x, ms" in drawn


def test_numbers_and_times_are_short() -> None:
    assert [duration(one) for one in (None, 0.5, 33.0, 300.0, 9000.0)] == ["—", "0.50 s", "33 s", "5.0 min", "2.5 h"]
    assert [number(one) for one in (0.0, 1234.5, 123456.0)] == ["0", "1234", "123 456"]
    assert len(brief({"a": "b" * 1000})) == 160
