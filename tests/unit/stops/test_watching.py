# SPDX-License-Identifier: Apache-2.0
"""Looks at stop conditions: joined, late, raising, and over time."""

import threading
import time
from collections.abc import Callable
from itertools import product
from typing import override

import pytest

from chaosgpu.errors import ReadingUnknown
from chaosgpu.fleet.values import JsonValue
from chaosgpu.lease.book import Lease
from chaosgpu.stops import watching
from chaosgpu.stops.contract import Leaf, Reading
from chaosgpu.stops.registry import HERE
from chaosgpu.stops.scene import Scene
from chaosgpu.stops.watching import Watching

PROBE = __name__
SAYS: list[object] = []


def answer() -> object:
    """Be a probe of an experiment: give or raise what the test says."""
    said = SAYS.pop(0)
    if isinstance(said, BaseException):
        raise said
    return said


def scene(now: Callable[[], float] = time.monotonic, leases: tuple[Lease, ...] = ()) -> Scene:
    probe = {
        "name": "it answers",
        "type": "probe",
        "tolerance": True,
        "provider": {"type": "python", "module": PROBE, "func": "answer", "arguments": {}},
    }
    return Scene({"method": [probe]}, leases=lambda: leases, now=now, started_s=now())


def made(name: str, a_scene: Scene, **params: JsonValue) -> Leaf:
    return HERE[name].make({"probe": None, **params}, a_scene)


class Says(Leaf):
    """Gives the same reading each time."""

    name = "says"

    def __init__(self, met: bool | None) -> None:
        self._met = met

    @override
    def __call__(self) -> Reading:
        return Reading(self._met, str(self._met))


class Hangs(Leaf):
    """Comes back only when it is let go."""

    name = "hangs"
    within_s = 0.2

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.hangs = False

    @override
    def __call__(self) -> Reading:
        if self.hangs:
            self.hold.wait(30)
        return Reading(met=False, text="well")


@pytest.mark.parametrize(("one", "other"), list(product((True, False, None), repeat=2)))
def test_conditions_are_joined_as_on_a_host(one: bool | None, other: bool | None) -> None:
    def read(leaf: Leaf) -> Reading:
        return leaf()

    sides = (one, other)
    of_any = True if True in sides else None if None in sides else False
    of_all = False if False in sides else None if None in sides else True
    assert (Says(one) | Says(other)).judge(read).met is of_any
    assert (Says(one) & Says(other)).judge(read).met is of_all


def test_a_look_that_hangs_is_no_reading_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BEAT_S", 0.05)
    hangs, says = Hangs(), Says(met=False)
    watched = Watching(hangs | says)
    assert watched.first().met is False
    hangs.hangs = True
    end_s = time.monotonic() + 5
    while watched.reading().met is False:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert watched.reading() == Reading(None, "hangs gave no reading within 0.2 s")
    hangs.hold.set()
    watched.end()


def test_at_the_start_one_part_that_nobody_knows_is_enough_to_refuse() -> None:
    watched = Watching(Says(met=False) & Says(None))
    assert watched.reading().met is not True
    assert watched.first().met is None
    watched.end()


def test_a_probe_is_judged_by_its_own_tolerance_and_counts_when_it_fails_without_a_break() -> None:
    at_s = [0.0]
    leaf = made("probe_fails", scene(lambda: at_s[0]), probe="it answers", seconds=2)
    met = []
    for said in (True, False, RuntimeError("no service"), False, True, False):
        SAYS.append(said)
        met.append(leaf().met)
        at_s[0] += 1
    assert met == [False, False, False, True, False, False]


def test_a_probe_that_cannot_know_says_nothing_about_the_service() -> None:
    leaf = made("probe_fails", scene(), probe="it answers", seconds=0)
    SAYS.extend([ReadingUnknown("nobody knows"), ReadingUnknown("nobody knows")])
    watched = Watching(leaf)
    assert watched.first().met is None
    assert "nobody knows" in watched.first().text
    watched.end()
    SAYS.clear()


def test_a_slow_answer_and_a_missing_one_are_slow() -> None:
    at_s = [0.0]

    def now() -> float:
        at_s[0] += 0.6
        return at_s[0]

    leaf = made("canary_slow_for", scene(now), probe="it answers", seconds=0, above_s=0.5)
    SAYS.append(True)
    assert leaf().met is True
    leaf = made("canary_slow_for", scene(), probe="it answers", seconds=0, above_s=0.5)
    SAYS.extend([True, RuntimeError("no service")])
    assert [leaf().met, leaf().met] == [False, True]


def test_an_error_rate_needs_its_looks() -> None:
    leaf = made("error_rate_above", scene(), probe="it answers", percent=50, looks=3)
    SAYS.extend([False, False, True, False, True, True])
    assert [leaf().met for _ in range(6)] == [False, False, True, True, False, False]


def test_a_lease_that_is_gone_and_the_time() -> None:
    lease = Lease("l1", "localhost", "a.fault", "active")
    assert made("lease_gone", scene(leases=(lease,)))().met is False
    gone = Lease("l1", "localhost", "a.fault", "active", ended_early="its holder died")
    assert made("lease_gone", scene(leases=(lease, gone)))() == Reading(
        met=True, text="a.fault on localhost: its holder died"
    )
    at_s = [100.0]
    leaf = made("elapsed", scene(lambda: at_s[0]), seconds=5)
    assert leaf().met is False
    at_s[0] = 105.0
    assert leaf().met is True
