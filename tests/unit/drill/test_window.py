# SPDX-License-Identifier: Apache-2.0
"""The window: days, blackouts, time zones, and local times that a clock change skips or repeats."""

import datetime as dt
from typing import Any

import pytest

from chaosgpu.drill.occurrences import check_schedule, occurrence_at, occurrences
from chaosgpu.drill.plan import Timing
from chaosgpu.drill.window import check_window, open_now, openings
from chaosgpu.errors import BadArgument, Refused

NOW = dt.datetime(2026, 11, 30, 8, 0, tzinfo=dt.UTC)


def _timing(longest_s: float = 900, schedule: dict[str, Any] | None = None, **window: Any) -> Timing:
    found: dict[str, object] = {
        "time_zone": "Europe/Zurich", "first": "2026-11-30", "last": "2026-12-31", "opens": "09:00", "closes": "12:00",
    }  # fmt: skip
    return Timing.model_validate({"window": found | window, "schedule": schedule, "longest_s": longest_s})


def test_it_opens_on_its_days_in_its_time_zone_and_not_in_a_blackout() -> None:
    blackouts = [{"from": "2026-12-08", "to": "2026-12-31", "why": "nobody is there"}]
    found = list(openings(_timing(days=["tue"], blackouts=blackouts).window))
    assert [(one.day.isoformat(), one.opens.hour, one.closes.hour) for one in found] == [("2026-12-01", 8, 11)]


def test_a_blackout_of_hours_takes_out_the_openings_that_it_meets_and_no_other() -> None:
    hours = [{"from": "2026-12-01T11:59", "to": "2026-12-01T18:00", "why": "closing of the books"}]
    days = {one.day.day for one in openings(_timing(last="2026-12-02", blackouts=hours).window)}
    assert days == {30, 2}
    later = [{"from": "2026-12-01T12:00", "to": "2026-12-01T18:00", "why": "closing of the books"}]
    assert len(list(openings(_timing(last="2026-12-02", blackouts=later).window))) == 3


def test_it_may_go_over_midnight() -> None:
    [found] = openings(_timing(opens="22:00", closes="02:00", last="2026-11-30").window)
    assert (found.opens.isoformat(), found.closes.isoformat()) == (
        "2026-11-30T21:00:00+00:00", "2026-12-01T01:00:00+00:00",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        (("2027-03-28", "02:30", "06:00"), "it opens at 2027-03-28 02:30, which does not exist"),
        (("2027-03-27", "22:00", "02:15"), "it closes at 2027-03-28 02:15, which does not exist"),
        (("2027-10-31", "02:30", "06:00"), "it opens at 2027-10-31 02:30, which exists twice"),
        (("2027-03-28", "01:00", "06:00"), "goes from UTC+01:00 to UTC+02:00"),
        (("2027-10-31", "01:00", "06:00"), "goes from UTC+02:00 to UTC+01:00"),
        (("2027-03-14", "02:00", "04:00", "America/New_York"), "does not exist"),
    ],
)  # fmt: skip
def test_an_opening_that_falls_into_a_clock_change_is_one_sentence(window: tuple[str, ...], sentence: str) -> None:
    first, opens, closes, zone = (*window, "Europe/Zurich")[:4]
    timing = _timing(first=first, last=first, opens=opens, closes=closes, time_zone=zone)
    with pytest.raises(BadArgument, match="falls into a clock change") as said:
        check_window(timing, NOW)
    assert sentence in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("zone", ["Europe/Zurich", "Asia/Tokyo", "UTC"])
def test_a_window_beside_the_change_or_where_clocks_are_left_alone_is_taken(zone: str) -> None:
    for opens, closes in (("04:00", "06:00"), ("02:30", "06:00")):
        if zone != "Europe/Zurich" or opens == "04:00":
            check_window(
                _timing(first="2027-03-28", last="2027-03-28", opens=opens, closes=closes, time_zone=zone), NOW
            )


def test_the_date_of_a_clock_change_can_be_taken_out_by_a_blackout() -> None:
    blackouts = [{"from": "2027-03-28", "to": "2027-03-28", "why": "the clocks change"}]
    window: dict[str, Any] = {"first": "2027-03-20", "last": "2027-04-05", "opens": "02:30", "closes": "06:00"}
    check_window(_timing(blackouts=blackouts, **window), NOW)
    with pytest.raises(BadArgument, match="clock change"):
        check_window(_timing(**window), NOW)


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ({"days": ["sat"], "last": "2026-12-04"}, "never opens: from 2026-11-30 to 2026-12-04 no sat is left"),
        ({"blackouts": [{"from": "2026-11-01", "to": "2027-01-31", "why": "frozen"}]}, "never opens"),
        ({"first": "2026-10-01", "last": "2026-10-31"}, "The window never opens again: it closed for the last time at"),
        ({"opens": "09:00", "closes": "09:10"}, "open for 10 minutes, and the drill with its undo may take 15"),
        ({"time_zone": "Europe/Zuerich"}, "time_zone 'Europe/Zuerich' is not known here"),
        ({"time_zone": "../../etc/passwd"}, "is not known here"),
    ],
)  # fmt: skip
def test_a_window_that_never_opens_is_one_sentence(window: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument) as said:
        check_window(_timing(**window), NOW)
    assert sentence in str(said.value)


def test_outside_of_it_nothing_starts_and_the_sentence_says_when_it_opens_next() -> None:
    timing = _timing()
    assert open_now(timing, NOW).day.isoformat() == "2026-11-30"
    with pytest.raises(
        Refused, match=r"It is Mon 2026-11-30 12:00 CET, outside of the window, which opens next at Tue"
    ):
        open_now(timing, NOW.replace(hour=11))
    with pytest.raises(Refused, match="The window closes at Mon 2026-11-30 12:00 CET, in 10 minutes"):
        open_now(timing, NOW.replace(hour=10, minute=50))
    with pytest.raises(Refused, match="opens never again"):
        open_now(timing, NOW.replace(year=2027))


def test_a_schedule_keeps_its_local_time_over_a_clock_change() -> None:
    timing = _timing(schedule={"at": "09:30", "days": ["fri"]}, first="2027-03-22", last="2027-04-04")
    assert [one.at.isoformat() for one in occurrences(timing)] == [
        "2027-03-26T08:30:00+00:00", "2027-04-02T07:30:00+00:00",
    ]  # fmt: skip


def test_a_schedule_that_the_window_has_no_room_for_is_refused() -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"at": "11:50"}, "The schedule starts the drill at 11:50, and the window of 2026-11-30 closes at"),
        ({"at": "08:00"}, "The schedule starts the drill at 08:00"),
        ({"at": "09:30", "days": ["sun"]}, "never starts the drill"),
    )
    for schedule, sentence in wrong:
        with pytest.raises(BadArgument, match=sentence):
            check_schedule(_timing(schedule=schedule, days=["mon", "tue"]))
    check_schedule(_timing(schedule={"at": "09:30"}))


def test_a_start_is_due_from_its_time_until_the_timer_would_be_too_late() -> None:
    timing = _timing(schedule={"at": "09:30"})
    due = NOW.replace(minute=30)
    found = occurrence_at(timing, due + dt.timedelta(minutes=14))
    assert found is not None
    assert found.name == "2026-11-30T08:30:00.000Z"
    assert occurrence_at(timing, due + dt.timedelta(minutes=16)) is None
    assert occurrence_at(timing, due - dt.timedelta(seconds=1)) is None
