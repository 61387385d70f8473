# SPDX-License-Identifier: Apache-2.0
"""The known set and the arithmetic of its alarm, without a database."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosgpu.errors import BadArgument
from chaosgpu.vectordb.baseline import Baseline, alarm_below, known_baseline, standard_error
from chaosgpu.vectordb.canary import search_known
from chaosgpu.vectordb.known_set import KnownSet, as_stored, same, vector_of, well_formed
from support.honest_store import HonestStore

SMALL = KnownSet(seed=2, rows=120, dimension=6, queries=12, k=5)


def test_the_same_seed_is_the_same_set_everywhere() -> None:
    # Literal, so that another Python or another machine that made another set would be noticed.
    assert vector_of(1, 1, 0, 2) == pytest.approx((-1.0761062, -0.6229979), abs=1e-6)
    assert KnownSet(seed=2, rows=120, dimension=6).stored == SMALL.stored
    assert KnownSet(seed=3, rows=120, dimension=6).stored != SMALL.stored
    assert vector_of(1, 1, 0, 2) != vector_of(1, 1, 1, 2)


def test_the_exact_neighbours_are_those_of_plain_distances() -> None:
    for question, found in zip(SMALL.questions, SMALL.neighbours, strict=True):
        plain = sorted(SMALL.stored, key=lambda row: math.dist(row.vector, question))
        assert found == {row.id for row in plain[:5]}


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=8))
def test_a_vector_is_itself_after_a_trip_through_decimals(values: list[float]) -> None:
    stored = as_stored(values)
    assert same(tuple(float(f"{x:.9g}") for x in stored), stored)


def test_another_vector_is_not_the_same() -> None:
    one = vector_of(1, 1, 0, 8)
    assert not same(one[:-1], one)
    assert not same((*one[:-1], one[-1] * 1.001), one)
    assert not same((*one[:-1], math.nan), one)


def test_well_formed_is_finite_and_of_the_right_length() -> None:
    assert well_formed((1.0, 2.0), 2)
    assert not well_formed((1.0,), 2)
    assert not well_formed((1.0, math.inf), 2)
    assert not well_formed((1.0, math.nan), 2)


def test_the_alarm_is_three_standard_errors_below_the_baseline() -> None:
    assert standard_error(0.9, 500) == pytest.approx(0.0135, abs=2e-4)
    assert alarm_below(0.9, 500) == pytest.approx(0.859, abs=2e-3)
    assert alarm_below(1.0, 500) == pytest.approx(0.9916, abs=5e-4)
    assert alarm_below(0.0, 500) == 0.0


def test_recall_counts_a_doubled_row_once_and_a_short_answer_as_short() -> None:
    store = HonestStore()
    store.create("chaosgpu_test", 6)
    store.put("chaosgpu_test", SMALL.stored)
    whole = search_known(store, "chaosgpu_test", SMALL)
    assert (whole.recall, whole.short, whole.foreign) == (1.0, 0, 0)
    store.doubled = True
    doubled = search_known(store, "chaosgpu_test", SMALL)
    assert doubled.recall < 0.7
    assert doubled.short == SMALL.queries


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    baseline = Baseline("chroma", "1", "chaosgpu_canary", SMALL, 0.98, 60, (7,), 1.5)
    baseline.write(tmp_path / "x.json")
    assert known_baseline(str(tmp_path / "x.json"), None) == baseline
    assert known_baseline(None, {"chaosgpu_vectors": str(tmp_path / "x.json")}) == baseline


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "known": {"colour": 1}}', "{"])
def test_a_broken_baseline_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadArgument, match="Learn it with learn_canary") as raised:
        known_baseline(str(tmp_path / "x.json"), None)
    assert "\n" not in str(raised.value)


def test_a_missing_baseline_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="cannot be read: No such file"):
        known_baseline(str(tmp_path / "x.json"), None)
