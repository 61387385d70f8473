# SPDX-License-Identifier: Apache-2.0
"""Samples over a window, with exact time."""

import pytest

from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.readings.window import Window, sample, slope_per_s, window_of


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def boottime_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_samples_are_at_even_distances() -> None:
    clock = Clock()
    found = sample(lambda: clock.now_s, Window(2.0, 5), clock)
    assert found == [(0.0, 100.0), (0.5, 100.5), (1.0, 101.0), (1.5, 101.5), (2.0, 102.0)]


def test_a_slow_reading_moves_no_later_sample() -> None:
    clock = Clock()

    def slow() -> float:
        clock.now_s += 0.2
        return 1.0

    assert [at for at, _ in sample(slow, Window(2.0, 5), clock)] == pytest.approx([0, 0.5, 1.0, 1.5, 2.0])


def test_a_reading_slower_than_the_distance_is_taken_at_once() -> None:
    clock = Clock()

    def slower() -> float:
        clock.now_s += 1.5
        return 1.0

    assert [at for at, _ in sample(slower, Window(2.0, 3), clock)] == [0.0, 1.5, 3.0]


def test_the_slope_is_that_of_the_least_squares_line() -> None:
    assert slope_per_s([(0.0, 10.0), (1.0, 14.0), (2.0, 18.0)]) == pytest.approx(4.0)
    assert slope_per_s([(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (3.0, 1.0)]) == pytest.approx(0.2)
    assert slope_per_s([(0.0, 5.0), (3.0, 5.0)]) == 0.0


def test_samples_of_one_moment_have_no_slope() -> None:
    assert slope_per_s([(1.0, 5.0), (1.0, 7.0)]) is None


def test_without_a_window_there_is_none() -> None:
    assert window_of({}) is None
    assert window_of({"window_s": None, "samples": 3}) is None
    assert window_of({"window_s": 2}, samples=7) == Window(2.0, 7)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"window_s": 0}, "between 0.01 and 60"),
        ({"window_s": -1}, "between 0.01 and 60"),
        ({"window_s": 61}, "between 0.01 and 60"),
        ({"window_s": "5"}, "must be a number"),
        ({"window_s": True}, "must be a number"),
        ({"window_s": float("nan")}, "must be a number"),
        ({"window_s": 5, "samples": 1}, "between 2 and 600"),
        ({"window_s": 5, "samples": 2.5}, "must be a whole number"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(params: dict[str, float], sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        window_of({**params})
