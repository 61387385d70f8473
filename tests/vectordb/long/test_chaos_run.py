# SPDX-License-Identifier: Apache-2.0
"""Whole runs of the real `chaos run` on real databases: the verdict, the sentence, and nothing left behind."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.lab.databases import Database
from chaosgpu.vectordb import probes
from support.chaos import GUARD, Chaos, Played, experiment, python
from support.lying_database import Liar, lying_in_front
from support.vectors import Known, is_there, known_of

ACTIONS, PROBES = "chaosgpu.vectordb.actions", "chaosgpu.vectordb.probes"


def hypothesis(func: str, tolerance: object = True, **arguments: object) -> dict[str, Any]:
    probe = {**python(func, func, kind="probe", module=PROBES, **arguments), "tolerance": tolerance}
    return {"title": "it is well", "probes": [probe]}


def started(folder: Path, method: list[dict[str, Any]], steady: dict[str, Any], vectors: str = "none") -> Chaos:
    content = experiment(method, controls=[GUARD], **{"steady-state-hypothesis": steady})
    return Chaos(folder, content, CHAOSGPU_VECTORS=vectors)


def play(folder: Path, method: list[dict[str, Any]], steady: dict[str, Any], vectors: str = "none") -> Played:
    return started(folder, method, steady, vectors).finish(300)


@pytest.fixture
def chroma(database: Callable[[str], Database]) -> Known:
    return known_of(database("chroma"))


def _writing(url: str) -> list[dict[str, Any]]:
    write = python("writes", "start_writing", module=ACTIONS, url=url, backend="chroma", duration_s=30, rate_per_s=50)
    flood = python("flood", "flood_queries", module=ACTIONS, url=url, backend="chroma", duration_s=3, clients=4)
    return [write, {**flood, "pauses": {"after": 3}}]


def test_a_server_that_acknowledges_and_forgets_makes_the_run_deviate(chroma: Known, tmp_path: Path) -> None:
    path = str(tmp_path / "vectors.json")
    probes.learn_canary(chroma.url, "chroma", path, rows=200, dimension=8)
    with lying_in_front(chroma.url, Liar("drop", 1, share=0.3)) as url:
        steady = hypothesis("audit_is_clean", url=url, backend="chroma")
        played = play(tmp_path, _writing(url), steady, path)
    assert played.status != 0, played.said
    assert played.verdict[0] == "deviated", played.verdict
    assert "row" in played.said
    assert not is_there(chroma, "chaosgpu_writing")


def test_an_honest_one_passes_a_flood_and_nothing_is_left(chroma: Known, tmp_path: Path) -> None:
    path = str(tmp_path / "vectors.json")
    probes.learn_canary(chroma.url, "chroma", path, rows=200, dimension=8)
    steady = hypothesis("audit_is_clean", url=chroma.url, backend="chroma")
    played = play(tmp_path, _writing(chroma.url), steady, path)
    assert (played.status, played.verdict[0]) == (0, "passed"), (played.verdict, played.said)
    assert not is_there(chroma, "chaosgpu_writing")
    assert {"vectordb.client"} <= set(played.types)


def test_bad_vectors_are_taken_out_by_undo_all(chroma: Known, tmp_path: Path) -> None:
    path = str(tmp_path / "vectors.json")
    probes.learn_canary(chroma.url, "chroma", path, rows=200, dimension=8)
    bad = python("bad", "insert_bad_vectors", module=ACTIONS, url=chroma.url, backend="chroma", kinds=["nan", "huge"])
    steady = hypothesis("canary_is_right", url=chroma.url, backend="chroma")
    played = play(tmp_path, [bad], steady, path)
    assert (played.status, played.verdict[0]) == (0, "passed"), (played.verdict, played.said)
    assert probes.collection_count(chroma.url, "chroma", "chaosgpu_canary") == 200


def test_a_run_that_is_stopped_leaves_no_client_and_no_collection(chroma: Known, tmp_path: Path) -> None:
    path = str(tmp_path / "vectors.json")
    probes.learn_canary(chroma.url, "chroma", path, rows=200, dimension=8)
    method = _writing(chroma.url)
    method[-1]["pauses"] = {"after": 60}
    steady = hypothesis("canary_is_right", url=chroma.url, backend="chroma")
    run = started(tmp_path, method, steady, path)
    run.wait_for(tmp_path / ".chaosgpu/runs/latest/vectors/flood-1.log", 60)
    time.sleep(1)
    run.send(signal.SIGTERM)
    played = run.finish(300)
    assert played.status != 0
    assert played.verdict[0] == "inconclusive", played.verdict
    assert not is_there(chroma, "chaosgpu_writing")


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("chroma", {"collection": "chaosgpu_nowhere"}, "chaosgpu_nowhere"),
        ("chroma", {"url": "https"}, "no trusted TLS connection"),
        ("pgvector", {"secrets": {"key": "wrong"}}, "did not take the user or the key"),
        ("qdrant", {"url": "http://127.0.0.1:9"}, "is the database running?"),
    ],
)
def test_bad_input_is_one_sentence_and_a_failed_run(
    kind: str, changes: dict[str, Any], sentence: str, database: Callable[[str], Database], tmp_path: Path
) -> None:
    real = None if kind == "qdrant" else known_of(database(kind))
    url = changes.get("url", real.url if real else "")
    if url == "https" and real:
        url = real.url.replace("http:", "https:")
    secrets = changes.get("secrets", dict(real.secrets) if real else {})
    collection = changes.get("collection", "chaosgpu_canary")
    arguments = {"url": url, "backend": kind, "collection": collection, "secrets": secrets}
    count = python("count", "collection_count", kind="probe", module=PROBES, **arguments)
    played = play(tmp_path, [], {"title": "it counts", "probes": [{**count, "tolerance": 1}]})
    assert played.status != 0
    assert sentence in played.said
    assert "Traceback" not in played.said
