# SPDX-License-Identifier: Apache-2.0
"""Clients and bad vectors in a guarded run on real databases: bounded, and taken out again whatever the ending."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument, NoGuard, Refused, Unreachable
from chaosgpu.lab.databases import Database
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.run import Run, activate, deactivate
from chaosgpu.vectordb import actions, clients, probes
from chaosgpu.vectordb.backends.contract import NoCollection
from support.vectors import Known, known_of, using


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Make a run as the guard control would have made it, and put everything back at its end."""
    made = Run("test-run", tmp_path, Ledger(tmp_path / "ledger.jsonl", "test-run", lambda: datetime.now(UTC)), Names())
    activate(made)
    try:
        yield made
    finally:
        made.put_back("end")
        deactivate()


@pytest.fixture
def chroma(database: Callable[[str], Database]) -> Database:
    return database("chroma")


@pytest.fixture
def learned(chroma: Database, tmp_path: Path) -> str:
    path = str(tmp_path / "vectors.json")
    probes.learn_canary(chroma.url, "chroma", path, rows=200, dimension=8)
    return path


def _until(history: Path, word: str, count: int) -> None:
    """Wait until a history has so many lines with a word."""
    end_s = time.monotonic() + 60
    while history.read_text().count(word) < count:
        assert time.monotonic() < end_s, history.read_text()
        time.sleep(0.05)


def test_a_kill_between_acknowledged_writes_is_audited(chroma: Database, run: Run) -> None:
    known = known_of(chroma)
    said = actions.start_writing(known.url, "chroma", duration_s=60, rate_per_s=50, timeout_s=2)
    history = Path(said["report"]).with_suffix(".jsonl")
    _until(history, '"acknowledged"', 10)
    chroma.kill()
    _until(history, '"failed"', 1)
    chroma.start()
    _until(history, '"acknowledged"', 15)
    found = probes.audit(known.url, "chroma")
    assert found["clean"] is True, found
    assert found["acknowledged"] > 5
    assert found["failed"] + found["unknown"] > 0
    told = actions.stop_client("writing")
    assert told["acknowledged"] == found["acknowledged"]
    assert probes.audit_is_clean(known.url, "chroma")
    run.put_back("end")
    with using(known) as backend, pytest.raises(NoCollection):
        backend.count(said["collection"])
    assert [deed.settled().not_restored for deed in run.deeds] == [()]


def test_rows_that_go_behind_its_back_are_lost(chroma: Database, run: Run) -> None:
    known = known_of(chroma)
    said = actions.start_writing(known.url, "chroma", duration_s=60, rate_per_s=100, name="robbed")
    _until(Path(said["report"]).with_suffix(".jsonl"), '"acknowledged"', 5)
    actions.stop_client("robbed")
    with using(known) as backend:
        backend.delete(said["collection"], list(range(1, 200)))
    found = probes.audit(known.url, "chroma", name="robbed")
    assert found["lost"] > 0
    assert probes.audit_is_clean(known.url, "chroma", name="robbed") is False
    history = str(Path(said["report"]).with_suffix(".jsonl"))
    assert probes.audit(known.url, "chroma", history=history)["lost"] == found["lost"]
    assert run.deeds


def test_a_flood_is_sent_and_ends_by_itself(chroma: Database, learned: str, run: Run) -> None:
    said = actions.flood_queries(chroma.url, "chroma", duration_s=1, clients=3, baseline=learned)
    client = clients.by_name("flood")
    client.process.wait(10)
    told = actions.stop_client("flood")
    assert told["answered"] > 3
    assert told["errors"] == {}
    assert json.loads(Path(said["report"]).read_text())["sent"] == told["sent"]
    run.put_back("end")
    assert probes.canary_is_right(chroma.url, "chroma", learned)


def test_a_burst_stops_at_its_bound_and_is_removed(chroma: Database, run: Run) -> None:
    said = actions.burst_embeddings(
        chroma.url, "chroma", duration_s=30, clients=2, batch=20, dimension=32, most_rows=100
    )
    clients.by_name("burst").process.wait(20)
    assert actions.stop_client("burst")["rows"] <= 100
    with using(known_of(chroma)) as backend:
        assert 0 < backend.count(said["collection"]) <= 100
        run.put_back("end")
        with pytest.raises(NoCollection):
            backend.count(said["collection"])


@pytest.mark.parametrize("kind", ["chroma", "pgvector"])
def test_bad_vectors_are_offered_and_what_was_taken_is_deleted(
    kind: str, database: Callable[[str], Database], tmp_path: Path, run: Run
) -> None:
    known = known_of(database(kind))
    path = str(tmp_path / f"{kind}.json")
    probes.learn_canary(known.url, kind, path, rows=200, dimension=8, secrets=dict(known.secrets))
    offered = actions.insert_bad_vectors(
        kinds=["nan", "inf", "huge", "wrong_dimension", "oversized"], baseline=path, **known.named
    )["offered"]
    assert offered.pop("huge") == "taken"  # it is finite
    assert all(said.startswith("refused: ") for said in offered.values()), offered
    run.put_back("rollbacks")
    found = probes.canary(baseline=path, **known.named)
    assert (found["right"], found["count"]) == (True, 200)


def test_a_client_ends_with_its_controller(chroma: Database, run: Run) -> None:
    actions.start_writing(chroma.url, "chroma", duration_s=60, name="orphan")
    client = clients.by_name("orphan")
    assert client.process.stdin is not None
    client.process.stdin.close()  # what the kernel does when the controller is gone
    assert client.process.wait(10) == 0
    assert run.deeds


def test_a_client_that_was_killed_proves_nothing(chroma: Database, run: Run) -> None:
    actions.start_writing(chroma.url, "chroma", duration_s=60, name="killed")
    clients.by_name("killed").process.kill()
    run.put_back("end")
    [sentence] = run.deeds[0].settled().unproved
    assert "the client killed did not come to its end" in sentence


def test_a_collection_that_cannot_be_removed_is_told(
    chroma: Database, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaosgpu.vectordb.undoing._REMOVE_S", 2.0)  # who waits for a frozen one waits in vain
    actions.start_writing(chroma.url, "chroma", duration_s=60, name="stuck", timeout_s=2)
    chroma.freeze()
    try:
        run.put_back("end")
        [sentence] = run.deeds[0].settled().not_restored
    finally:
        chroma.thaw()
    assert sentence.startswith("the collection chaosgpu_stuck at http://127.0.0.1")
    run.put_back("again")
    assert run.deeds[0].settled().not_restored == ()


def test_nothing_is_started_where_nobody_answers_or_the_key_is_wrong(
    database: Callable[[str], Database], run: Run
) -> None:
    with pytest.raises(Unreachable, match="is the database running"):
        actions.start_writing("http://127.0.0.1:9", "chroma", duration_s=5, name="nobody")
    postgres = database("pgvector")
    with pytest.raises(Refused, match="28P01"):
        actions.start_writing(postgres.url, "pgvector", duration_s=5, name="nobody", secrets={"key": "wrong"})
    assert not clients.started("nobody")
    assert run.deeds


def test_one_name_is_one_client_at_a_time(chroma: Database, run: Run) -> None:
    actions.start_writing(chroma.url, "chroma", duration_s=60, name="twice")
    with pytest.raises(Refused, match="already under way"):
        actions.start_writing(chroma.url, "chroma", duration_s=60, name="twice")
    assert len(run.deeds) == 1
    assert probes.audit_is_clean(chroma.url, "chroma", name="twice")


def test_no_guard_no_client(chroma: Database, learned: str) -> None:
    with pytest.raises(NoGuard):
        actions.start_writing(chroma.url, "chroma", duration_s=5)
    with pytest.raises(NoGuard):
        actions.flood_queries(chroma.url, "chroma", duration_s=5, baseline=learned)
    with pytest.raises(NoGuard):
        actions.burst_embeddings(chroma.url, "chroma", duration_s=5)
    with pytest.raises(NoGuard):
        actions.insert_bad_vectors(chroma.url, "chroma", ["nan"], baseline=learned)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"duration_s": 0}, "duration_s must be a number from 0.001 to 3600"),
        ({"duration_s": 1e9}, "duration_s must be a number"),
        ({"writers": 0}, "clients must be a whole number from 1 to 64"),
        ({"rate_per_s": -1}, "rate_per_s must be a number from 0 to 5000"),
        ({"name": "a b"}, "name must be letters, digits and underscores"),
        ({"batch": 1.5}, "batch must be a whole number"),
        ({"dimension": True}, "dimension must be a whole number"),
    ],
)
def test_what_is_out_of_bounds_is_refused_before_anything(changes: dict[str, object], sentence: str) -> None:
    arguments: dict[str, object] = {"url": "http://127.0.0.1:9", "backend": "chroma", "duration_s": 5} | changes
    with pytest.raises(BadArgument) as raised:
        actions.start_writing(**arguments)  # type: ignore[arg-type] # what an experiment may write
    assert sentence in str(raised.value)


def test_the_canary_goes_for_good_and_a_users_collection_never(chroma: Database, learned: str) -> None:
    assert actions.drop_canary(chroma.url, "chroma")["dropped"]
    assert probes.canary_is_right(chroma.url, "chroma", learned) is False
    with pytest.raises(BadArgument, match="must begin with chaosgpu_"):
        actions.drop_canary(chroma.url, "chroma", collection="products")


def test_an_audit_of_what_was_not_written_is_told(known: Known) -> None:
    with pytest.raises(BadArgument, match="No client 'never' was started"):
        probes.audit(name="never", **known.named)
    assert probes.audit_is_clean(name="never", **known.named) is True


def test_writes_that_are_not_acknowledged_in_time_are_counted_and_before_the_method_none_wait(
    chroma: Database, run: Run
) -> None:
    known = known_of(chroma)
    assert probes.writes_are_acknowledged("stalled")
    said = actions.start_writing(known.url, "chroma", duration_s=60, rate_per_s=20, timeout_s=0.5, name="stalled")
    history = Path(said["report"]).with_suffix(".jsonl")
    _until(history, '"acknowledged"', 10)
    chroma.freeze()
    try:
        _until(history, '"unknown"', 3)
    finally:
        chroma.thaw()
    assert probes.writes_are_acknowledged("stalled", least_percent=10)
    assert not probes.writes_are_acknowledged("stalled", least_percent=99.9)
    with pytest.raises(BadArgument, match="least_percent must be over 0"):
        probes.writes_are_acknowledged("stalled", least_percent=0)
    assert run.deeds


def test_a_collection_is_removed_also_where_the_database_answers_later_than_the_clients_time(
    chroma: Database, run: Run
) -> None:
    known = known_of(chroma)
    said = actions.start_writing(known.url, "chroma", duration_s=60, rate_per_s=20, timeout_s=0.5, name="late")
    _until(Path(said["report"]).with_suffix(".jsonl"), '"acknowledged"', 3)
    actions.stop_client("late")
    chroma.freeze()
    thaw = threading.Timer(2.0, chroma.thaw)
    thaw.start()
    try:
        run.put_back("end")
    finally:
        thaw.join()
    assert [deed.settled().not_restored for deed in run.deeds] == [()]
    with using(known) as backend, pytest.raises(NoCollection):
        backend.count(said["collection"])
