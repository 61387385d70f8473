# SPDX-License-Identifier: Apache-2.0
"""Every way in which Chaos Toolkit loses rollbacks: with the guard the fault is gone afterwards and nothing is green.

All rows are played at once, as many as there are processors and some, since most of them wait.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from unit.controls.lost import Outcome, play_guarded, play_plain
from unit.controls.ways import WAYS, Way

_AT_ONCE = 2 + (os.cpu_count() or 1)
_BOUND_S = 5.0
GUARDED = [(way, strategy) for way in WAYS for strategy in way.strategies]
# The strongest strategy under which it is lost is enough.
PLAIN = [(way, way.loses[-1]) for way in WAYS if way.loses]
type Played = dict[tuple[str, str, str, bool], Future[Outcome]]


def _key(way: Way, strategy: str, *, guarded: bool) -> tuple[str, str, str, bool]:
    return way.id, way.what, strategy, guarded


def _name(value: object) -> str:
    return f"{value.id} {value.what}" if isinstance(value, Way) else str(value)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Played]:
    """Start every row that was chosen."""
    chosen = {str(item.name) for item in request.session.items}
    folder = tmp_path_factory.mktemp("ways")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found: Played = {}
        for guarded, rows in ((True, GUARDED), (False, PLAIN)):
            for number, (way, strategy) in enumerate(rows):
                test = "test_under" if guarded else "test_control"
                if not any(name.startswith(test) and f"{_name(way)}-{strategy}" in name for name in chosen):
                    continue
                own = folder / f"{test}-{number}"
                own.mkdir()
                play = play_guarded if guarded else play_plain
                found[_key(way, strategy, guarded=guarded)] = pool.submit(play, way, strategy, own)
        yield found


@pytest.mark.parametrize(("way", "strategy"), GUARDED, ids=_name)
def test_under_the_guard_the_fault_is_gone_and_the_verdict_is_not_green(
    played: Played, way: Way, strategy: str
) -> None:
    outcome = played[_key(way, strategy, guarded=True)].result(timeout=240)
    assert not outcome.broken, outcome.said
    assert outcome.got_in == way.gets_in, outcome.said
    assert outcome.verdict == way.verdict, f"{outcome.reason}\n{outcome.said}"
    assert outcome.late_s is None or outcome.late_s <= _BOUND_S


@pytest.mark.parametrize(("way", "strategy"), PLAIN, ids=_name)
def test_control_without_the_guard_the_fault_stays(played: Played, way: Way, strategy: str) -> None:
    assert played[_key(way, strategy, guarded=False)].result(timeout=240).broken


def test_only_rows_in_which_nothing_is_wrong_with_the_run_are_green() -> None:
    # Two only choose a strategy, and the guard plays the rollbacks all the same. Of an output that is no JSON the guard
    # keeps the text, so that the record is whole.
    green = {way.what for way in WAYS if way.verdict == "passed"}
    assert green == {"strategy never", "strategy deviated, no deviation", "an output is not JSON"}
