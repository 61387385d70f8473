# SPDX-License-Identifier: Apache-2.0
"""Milvus Lite, real: its client alone takes a second to import and its server several to start."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.errors import NotReached, Unreachable
from chaosgpu.lab.databases import Database, running_database
from chaosgpu.lab.packages import packages
from chaosgpu.vectordb import probes
from chaosgpu.vectordb.backends.contract import Backend, Row
from support import vectors
from support.vectors import emptied, known_of, using
from unit.triton.services import closed_port


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    # The client comes out of the lab's own packages: 100 MB that the tests' environment does without.
    sys.path.append(str(packages("milvus", lambda _line: None)))
    with running_database("milvus", tmp_path_factory.mktemp("milvus"), lambda _line: None) as one:
        yield one
    sys.path.pop()


@pytest.fixture
def backend(milvus: Database) -> Iterator[Backend]:
    with using(known_of(milvus)) as one:
        yield one


def test_it_keeps_what_it_is_given(backend: Backend) -> None:
    vectors.keeps_what_it_is_given(backend)


def test_a_wrong_dimension_is_refused_and_nothing_is_stored(backend: Backend) -> None:
    vectors.refuses_a_wrong_dimension(backend)


def test_a_missing_collection_is_one_sentence(backend: Backend) -> None:
    vectors.a_missing_collection_is_one_sentence(backend)


def test_nobody_there_is_one_sentence() -> None:
    with (
        pytest.raises(NotReached, match="is the database running"),
        using(vectors.Known("milvus", closed_port(), None), within_s=1) as one,
    ):
        one.healthy()


def test_it_takes_what_is_no_number_and_the_canary_tells(milvus: Database, tmp_path: Path) -> None:
    known, path = known_of(milvus), str(tmp_path / "x.json")
    probes.learn_canary(known.url, "milvus", path, rows=300, dimension=8)
    assert probes.canary_is_right(known.url, "milvus", path)
    with using(known) as one:
        one.put("chaosgpu_canary", [Row(7, (float("nan"),) * 8)])
    found = probes.canary(known.url, "milvus", path)
    assert found["right"] is False
    assert found["stored"]["not_finite"] == 1
    assert found["health_check"] is True


def test_after_a_kill_it_answers_once_it_is_loaded(milvus: Database) -> None:
    with using(known_of(milvus)) as one, emptied(one) as collection:
        one.put(collection, vectors.SMALL.stored[:50])
        milvus.kill()
        with pytest.raises(Unreachable):
            one.count(collection)
        milvus.start()
        one.open(collection)
        assert len(one.get(collection, range(1, 51))) == 50


def test_a_frozen_one_costs_its_deadline(milvus: Database) -> None:
    with using(known_of(milvus), within_s=1) as one:
        one.healthy()
        milvus.freeze()
        try:
            with pytest.raises(Unreachable):
                one.healthy()
        finally:
            milvus.thaw()
