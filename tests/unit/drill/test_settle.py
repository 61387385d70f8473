# SPDX-License-Identifier: Apache-2.0
"""Drills that should have run, drills that died, and a simulated week of both: the log says all of it."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.drill.course import run_drill
from chaosgpu.drill.occurrences import occurrences
from chaosgpu.drill.planfile import Written, read
from chaosgpu.drill.settle import end_dead_drills, in_force, missed, record_missed
from chaosgpu.drill.state import DrillFolder, every_drill
from chaosgpu.errors import ChaosGpuError
from drill_kills import kill_drill, wrong_in_log
from drill_week import play_week
from support.drills import MONDAY, World

UP = MONDAY - dt.timedelta(days=30)


def _scheduled(world: World, **changes: Any) -> Written:
    written = world.plan("bob@lab", **changes)
    world.record.planned(written, schedule=written.plan.timing.as_json())
    return written


def _skipped(world: World) -> list[tuple[str, str]]:
    found = [one for one in world.record.read().entries if one["type"] == "drill-skipped"]
    return [(str(one["due"]), str(one["reason"])) for one in found]


def test_a_drill_that_was_due_and_did_not_run_is_on_record_once(world: World) -> None:
    _scheduled(world)
    world.clock.move(days=1)
    [found] = record_missed(world.record, world.clock(), UP)
    assert found.line.startswith("leak, due at 2026-11-30T08:30:00.000Z, did not run: nothing started it")
    assert record_missed(world.record, world.clock(), UP) == []
    assert [due for due, _ in _skipped(world)] == ["2026-11-30T08:30:00.000Z"]
    assert world.record.read().problems == ()


def test_after_an_outage_all_that_fell_into_it_is_on_record_with_that_reason(world: World) -> None:
    _scheduled(world)
    world.clock.move(days=10)
    up = MONDAY + dt.timedelta(days=9, hours=5)
    record_missed(world.record, world.clock(), up)
    found = _skipped(world)
    assert len(found) == 7  # Monday to Thursday, Monday to Wednesday
    assert {why.startswith("this machine was down when it was due: it is up since") for _, why in found} == {True}


def test_what_ran_or_was_refused_is_not_missed_and_neither_is_what_is_not_late_yet(world: World) -> None:
    written = _scheduled(world)
    world.clock.move(minutes=31)
    run_drill(written, world.means(), scheduled=True)
    assert record_missed(world.record, world.clock(), UP) == []
    world.clock.move(days=1)
    with pytest.raises(ChaosGpuError):
        run_drill(written, world.means(operator="bob"), scheduled=True)
    assert record_missed(world.record, world.clock(), UP) == []
    world.clock.move(hours=23, minutes=59)
    assert missed(world.record.read().entries, world.clock()) == []


def test_a_run_by_hand_does_not_stand_for_the_one_that_was_due(world: World) -> None:
    written = _scheduled(world)
    run_drill(written, world.means())
    world.clock.move(hours=3)
    assert len(record_missed(world.record, world.clock(), UP)) == 1


def test_nothing_is_due_before_it_was_scheduled_in_a_blackout_or_after_its_end(world: World) -> None:
    world.clock.move(days=1, hours=1)
    frozen = [{"from": "2026-12-03", "to": "2026-12-03", "why": "frozen"}]
    written = _scheduled(world, window__blackouts=frozen)
    world.clock.move(days=6)
    world.record.planned(written, schedule="off")
    world.clock.move(days=7)
    record_missed(world.record, world.clock(), UP)
    assert [due[:10] for due, _ in _skipped(world)] == ["2026-12-02", "2026-12-07"]


def test_a_schedule_that_was_ended_can_begin_again(world: World) -> None:
    written = _scheduled(world)
    world.clock.move(days=7)
    world.record.planned(written, schedule="off")
    world.clock.move(days=7)
    assert world.record.planned(written, schedule=written.plan.timing.as_json())
    assert not world.record.planned(written, schedule=written.plan.timing.as_json())
    found = in_force(world.record.read().entries)
    assert [one.until is None for one in found] == [False, True]


def test_a_changed_plan_or_a_lost_one_hides_no_drill(world: World) -> None:
    written = _scheduled(world)
    written.path.write_text("gone: true\n")
    world.clock.move(days=1)
    assert len(record_missed(world.record, world.clock(), UP)) == 1


def test_a_week_is_all_on_record_and_verification_passes(world: World) -> None:
    week = play_week(world, seed=5)
    log = world.record.read()
    assert (log.problems, log.missing) == ((), ())
    due = {one.name for one in occurrences(week.plan.timing) if MONDAY < one.at < MONDAY + dt.timedelta(days=7)}
    told = {str(one["occurrence"]) for one in log.entries if one["type"] == "started" and one.get("occurrence")}
    told |= {due for due, _ in _skipped(world)}
    assert due <= told
    assert {"ran", "refused", "missed", "died"} <= {*week.what.values()}


def test_killed_at_any_moment_the_log_says_exactly_what_is_missing_and_the_next_start_ends_it(world: World) -> None:
    written = world.plan("bob@lab")
    home = world.site.path(world.site.drills)
    point, recovered = 0, [0]

    def recover(folder: DrillFolder, directory: Path) -> str | None:
        assert directory.parent.parent == folder.path
        recovered[0] += 1
        return None

    while True:
        point += 1
        struck = kill_drill(world, written, point)
        assert wrong_in_log(world) == []
        missing = world.record.read().missing
        if not struck:
            break
        if missing:
            assert end_dead_drills(home, world.record, recover)
        end_dead_drills(home, world.record, recover)
        after = world.record.read()
        assert (after.missing, [one for one in after.problems if "torn" not in one]) == ((), [])
        world.clock.move(minutes=1)
    assert point > 12
    assert recovered[0] > 0
    assert [one for one in every_drill(home) if one.lives] == []
    assert world.last["verdict"] == "passed"


def test_what_a_dead_drill_left_is_on_record(world: World) -> None:
    written = world.plan("bob@lab")
    points = (point for point in range(1, 60) if kill_drill(world, written, point))
    home = world.site.path(world.site.drills)
    for _ in points:
        lines = end_dead_drills(home, world.record, lambda folder, directory: "gpu1 is cut off")  # noqa: ARG005 (contract)
        if "residue" in world.types:
            break
        world.clock.move(minutes=1)
        read(written.path)
    assert "its controller died before it could end it" in lines[0]
    [left] = [one for one in world.record.read().entries if one["type"] == "residue"]
    assert (left["host"], left["what"]) == ("localhost", "gpu1 is cut off")
