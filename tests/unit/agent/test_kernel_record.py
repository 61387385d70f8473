# SPDX-License-Identifier: Apache-2.0
"""What a record is read back as, and what of its history lasts: quick, so that each mutant of the kernel meets it."""

import pytest

from chaosgpu.agent.record import State
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
