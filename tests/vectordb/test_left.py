# SPDX-License-Identifier: Apache-2.0
"""A controller killed in the middle: what it left in a database is taken out by `chaosgpu recover`, or named."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from chaosgpu.lab.databases import Database
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.vectordb import probes
from chaosgpu.vectordb.backends.contract import Row
from chaosgpu.vectordb.undoing import BAD_VECTORS, CLIENT
from support.chaos import GUARD, Chaos, experiment, python
from support.vectors import Known, is_there, known_of, using

_ACTIONS, _KEY = "chaosgpu.vectordb.actions", "STRUCK_DATABASE_KEY"
_WRITTEN, _CANARY = "chaosgpu_writing", "chaosgpu_canary"
_SECRETS = {"db": {"key": {"type": "env", "key": _KEY}}}


@pytest.fixture
def postgres(database: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch) -> Known:
    """Give a database with a key, which the environment holds."""
    known = known_of(database("pgvector"))
    assert known.key is not None
    monkeypatch.setenv(_KEY, known.key)
    return known


def _killed(known: Known, folder: Path) -> Path:
    """Play a run that writes, and kill its controller; return the run's directory."""
    write = python("writes", "start_writing", module=_ACTIONS, url=known.url, backend=known.kind, duration_s=60)
    write["provider"]["secrets"] = ["db"]
    wait = {**write, "name": "nobody comes here", "pauses": {"before": 600}}
    run = Chaos(folder, experiment([write, wait], controls=[GUARD], secrets=_SECRETS))
    run.wait_for(folder / ".chaosgpu/runs/latest/vectors/writing-1.jsonl", 60)
    os.killpg(run.process.pid, 9)
    run.process.communicate()
    return (folder / ".chaosgpu/runs/latest").resolve()


def test_what_a_killed_run_wrote_is_there_until_recover_removes_it(
    postgres: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _killed(postgres, tmp_path)
    assert is_there(postgres, _WRITTEN)
    monkeypatch.chdir(tmp_path)
    assert main(["recover"]) == 0, capsys.readouterr()
    assert not is_there(postgres, _WRITTEN)
    last = json.loads((run / "ledger.jsonl").read_text().splitlines()[-1])
    assert (last["type"], last["verdict"]) == ("run.finished", "inconclusive")


def test_without_the_key_nothing_is_removed_and_the_sentence_names_it(
    postgres: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _killed(postgres, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(_KEY)
    assert main(["recover"]) != 0
    said = capsys.readouterr().out
    assert f"the collection {_WRITTEN} at {postgres.url} cannot be removed from here" in said
    assert _KEY in said
    assert is_there(postgres, _WRITTEN)
    monkeypatch.setenv(_KEY, str(postgres.key))
    assert main(["recover"]) == 0
    assert not is_there(postgres, _WRITTEN)


def test_a_collection_that_a_younger_run_has_named_is_left_to_that_run(
    postgres: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _killed(postgres, tmp_path)
    younger = run.parent / "99990101T000000Z-younger"
    younger.mkdir()
    line = next(line for line in (run / "ledger.jsonl").read_text().splitlines() if CLIENT in line)
    (younger / "ledger.jsonl").write_text(f"{line}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["recover", run.name]) == 0
    assert is_there(postgres, _WRITTEN)


def test_where_the_record_of_a_younger_run_cannot_be_read_nothing_is_removed(
    postgres: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _killed(postgres, tmp_path)
    (run.parent / "99990101T000000Z-younger" / "ledger.jsonl").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["recover", run.name]) != 0
    assert "nobody knows whether a younger run uses it" in capsys.readouterr().out
    assert is_there(postgres, _WRITTEN)


def test_bad_vectors_of_a_killed_run_are_taken_out_and_no_other_rows(
    postgres: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _killed(postgres, tmp_path)
    path = str(tmp_path / "vectors.json")
    probes.learn_canary(postgres.url, postgres.kind, path, rows=200, dimension=8, secrets=dict(postgres.secrets))
    bad, foreign = 900_000_001, 900_000_009
    with using(postgres) as backend:
        backend.put(_CANARY, [Row(bad, (3e38,) * 8), Row(foreign, (1.0,) * 8)])
    ledger = Ledger(run / "ledger.jsonl", run.name, Names().now)
    ledger.append(BAD_VECTORS, backend=postgres.kind, database=postgres.url, collection=_CANARY, rows=[bad])
    monkeypatch.chdir(tmp_path)
    assert main(["recover", run.name]) == 0
    with using(postgres) as backend:
        assert [row.id for row in backend.get(_CANARY, [bad, foreign])] == [foreign]
