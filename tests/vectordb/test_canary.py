# SPDX-License-Identifier: Apache-2.0
"""The canary collection on real databases: right while they are, and wrong with its reason where health is green."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.errors import BadArgument, Unreachable
from chaosgpu.lab.databases import Database
from chaosgpu.vectordb import probes
from chaosgpu.vectordb.backends.contract import NoCollection, Row
from chaosgpu.vectordb.known_set import KnownSet, vector_of
from support.vectors import Known, known_of, using
from unit.triton.services import closed_port

ROWS = 250
SET = KnownSet(seed=5, rows=ROWS, dimension=8)
OVER = 1200  # over Chroma's threshold of 1000, from which on its index is on disk
COLLECTION = "chaosgpu_canary"


class Learned:
    """A database with a canary in it."""

    def __init__(self, known: Known, folder: Path, rows: int = ROWS) -> None:
        self.known = known
        self.path = str(folder / "vectors.json")
        self.said = probes.learn_canary(
            known.url, known.kind, self.path, seed=SET.seed, rows=rows, dimension=8, secrets=dict(known.secrets)
        )

    def ask(self, func: str, **changes: object) -> Any:
        return getattr(probes, func)(**{**self.known.named, "baseline": self.path, **changes})


@pytest.fixture
def each(known: Known, tmp_path: Path) -> Iterator[Learned]:
    """Every kind in turn."""
    yield Learned(known, tmp_path)
    with using(known) as backend:
        backend.drop(COLLECTION)


@pytest.fixture
def learned(database: Callable[[str], Database], tmp_path: Path) -> Iterator[Learned]:
    """One kind, for what is the same for all."""
    one = known_of(database("chroma"))
    yield Learned(one, tmp_path)
    with using(one) as backend:
        backend.drop(COLLECTION)


@pytest.fixture
def chroma(database: Callable[[str], Database], tmp_path: Path) -> Iterator[tuple[Database, Learned]]:
    one = database("chroma")
    with using(known_of(one)) as backend:
        backend.drop(COLLECTION)
    yield one, Learned(known_of(one), tmp_path, OVER)
    if one.process is not None:
        one.stop()


def test_a_healthy_database_is_right_in_every_probe(each: Learned) -> None:
    assert each.said["recall"] > 0.95
    found = each.ask("canary")
    assert (found["right"], found["why"], found["count"], found["health_check"]) == (True, [], ROWS, True)
    for probe in ("canary_is_right", "recall_is_normal", "rows_are_complete", "vectors_find_themselves",
                  "embeddings_are_valid"):  # fmt: skip
        assert each.ask(probe) is True, probe
    assert each.ask("ready_after_s") >= 0
    assert each.ask("recall") == pytest.approx(each.said["recall"], abs=0.02)
    latency = each.ask("query_latency_ms")
    assert 0 < latency["p50_ms"] <= latency["p95_ms"] <= latency["max_ms"]
    assert probes.collection_count(collection=COLLECTION, **each.known.named) == ROWS


def test_learning_again_keeps_what_is_there(learned: Learned, tmp_path: Path) -> None:
    again = Learned(learned.known, tmp_path)
    assert again.said["rows"] == learned.said["rows"]
    assert again.ask("canary_is_right")


def test_what_is_gone_or_changed_is_found_and_named(each: Learned) -> None:
    with using(each.known) as backend:
        backend.delete(COLLECTION, [3, 4, 5])
        backend.put(COLLECTION, [Row(9, vector_of(99, 9, 1, 8))])
    found = each.ask("canary")
    assert found["right"] is False
    assert found["stored"] == {"rows": ROWS, "missing": 3, "doubled": 0, "not_finite": 0, "changed": 1}
    assert any("3 missing (3, 4, 5), 1 changed (9)" in why for why in found["why"])
    assert each.ask("embeddings_are_valid") is False
    assert found["count"] == ROWS - 3


def test_neighbours_that_are_none_of_ours_are_told(learned: Learned) -> None:
    with using(learned.known) as backend:
        backend.put(COLLECTION, [Row(5000 + at, question) for at, question in enumerate(SET.questions[:20])])
    found = learned.ask("canary")
    assert found["right"] is False
    assert found["foreign"] >= 20


def test_chroma_without_its_index_is_healthy_and_counts_and_the_canary_is_wrong(
    chroma: tuple[Database, Learned],
) -> None:
    database, learned = chroma
    assert learned.ask("canary_is_right")
    database.stop()
    segments = [path for path in database.place.data.iterdir() if path.is_dir()]
    assert segments
    for segment in segments:
        shutil.rmtree(segment)
    database.start()
    found = learned.ask("canary")
    assert found["health_check"] is True
    assert found["count"] == OVER
    assert found["right"] is False
    assert found["recall"] < 0.5
    assert learned.ask("vectors_find_themselves") is False
    with using(learned.known) as backend:
        backend.drop(COLLECTION)


def test_a_missing_collection_is_wrong_for_the_canary_and_an_error_for_a_number(learned: Learned) -> None:
    with using(learned.known) as backend:
        backend.drop(COLLECTION)
    found = learned.ask("canary")
    assert found["right"] is False
    assert COLLECTION in found["why"][0]
    with pytest.raises(NoCollection):
        learned.ask("recall")


def test_nobody_there_is_wrong_after_one_try(learned: Learned) -> None:
    url = closed_port().replace("http", "postgresql" if learned.known.kind == "pgvector" else "http")
    found = learned.ask("canary", url=url)
    assert (found["right"], found["health_check"], found["count"]) == (False, None, None)
    assert len(found["why"]) == 1
    assert probes.server_is_healthy(url, learned.known.kind, secrets=dict(learned.known.secrets)) is False
    with pytest.raises(Unreachable, match=r"not right within 0\.1 s"):
        learned.ask("ready_after_s", url=url, within_s=0.1)


def test_a_baseline_of_another_kind_or_none_is_told(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"chroma": "qdrant"}.get(learned.known.kind, "chroma")
    with pytest.raises(BadArgument, match=f"The baseline is of a {learned.known.kind} database"):
        learned.ask("canary", backend=other, url="http://127.0.0.1:1")
    monkeypatch.delenv("CHAOSGPU_VECTORS", raising=False)
    with pytest.raises(BadArgument, match=r"learn it with learn_canary .* \$CHAOSGPU_VECTORS"):
        learned.ask("canary", baseline=None)
    monkeypatch.setenv("CHAOSGPU_VECTORS", learned.path)
    assert learned.ask("canary_is_right", baseline=None)


def test_a_users_collection_is_never_made_or_replaced(known: Known, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="must begin with chaosgpu_"):
        probes.learn_canary(known.url, known.kind, str(tmp_path / "x"), collection="products")
