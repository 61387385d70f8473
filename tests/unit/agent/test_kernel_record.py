# SPDX-License-Identifier: Apache-2.0
"""What a record is read back as, and what of its history lasts: quick, so that each mutant of the kernel meets it."""

import pytest

from chaosgpu.agent.clock import Boot
from chaosgpu.agent.record import ENDED, ENDED_BY, State
from chaosgpu.agent.store import Damaged


def test_a_record_of_another_form_or_in_an_unknown_state_is_damage() -> None:
    assert State.from_json(State("clean").to_json()) == State("clean")
    for change, told in (({"form": 2}, "has form 2"), ({"state": "lost"}, "does not know: lost"), ({"run": 3}, "run")):
        with pytest.raises(Damaged, match=told):
            State.from_json({**State("clean").to_json(), **change})


def test_a_state_without_a_time_is_over() -> None:
    assert (State("armed").deadline_s, State("armed").end_s) == (0.0, 0.0)


def test_a_long_history_keeps_its_beginning_and_its_end() -> None:
    state = State("reserved")
    for number in range(15):
        state = state.moved("stuck", float(number), "now", None, None)
    assert [line["boottime_s"] for line in state.history] == list(range(15))
    state = state.moved("stuck", 15.0, "now", None, None)
    assert len(state.history) == 16
    state = state.moved("stuck", 16.0, "now", None, None)
    assert [line["boottime_s"] for line in state.history] == [*range(8), *range(9, 17)]


def test_a_reason_lasts_until_a_new_undo_begins() -> None:
    stuck = State("active").moved("stuck", 1.0, "now", "undo", "x" * 700)
    assert stuck.reason == "x" * 600
    assert stuck.history[-1] == {
        "state": "stuck",
        "boottime_s": 1.0,
        "at": "now",
        "ended_by": "undo",
        "reason": "x" * 600,
    }
    assert stuck.moved("clean", 2.0, "now", None, None).reason == "x" * 600
    again = stuck.moved("reverting", 2.0, "now", None, None)
    assert (again.reason, again.ended_by) == (None, "undo")
    assert "reason" not in again.history[-1]


def test_what_others_read_of_a_record_has_these_words_and_these_values() -> None:
    assert ENDED == ("clean", "tombstone")
    assert ENDED_BY == ("undo", "deadline", "halt", "unverified", "holder_died", "stop", "abandoned", "refused")
    assert State("reserved").boot == Boot("", 0)
    assert State("reserved").moved("armed", 1.23456789, "now", None, None).history[0]["boottime_s"] == 1.234568


def test_of_an_earlier_start_of_the_host_no_time_is_left() -> None:
    state = State("active", boot=Boot("here", 7), deadline_s=9.0, end_s=8.0)
    assert state.left_s(Boot("here", 7), 5.0) == 3.0
    for other in (Boot("other", 7), Boot("here", 8)):
        assert state.left_s(other, 5.0) == 0.0
        assert state.over(other, 5.0)
