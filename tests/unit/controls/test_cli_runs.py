# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu runs`, on records of real runs and on records that somebody has changed."""

import json
from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from support.chaos import Played, experiment, play, python


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.chdir(tmp_path)
    return play(tmp_path, experiment([python("break it", "break_it")]))


def test_runs_lists_each_run_with_its_verdict(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    stuck = experiment([python("break it", "break_it", mode="stuck")], title="another")
    play(played.folder, stuck)
    assert main(["runs"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[1] for line in lines) == ["passed", "unsafe"]


@pytest.mark.parametrize(
    ("mode", "code"), [("ok", 0), ("unverified", 4), ("stuck", 5)], ids=["passed", "inconclusive", "unsafe"]
)
def test_runs_show_ends_with_the_code_of_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    play(tmp_path, experiment([python("break it", "break_it", mode=mode)]))
    assert main(["runs", "show"]) == code


def test_runs_show_tells_verdict_leases_countdown_and_ledger(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", "show", played.run.name[:12]]) == 0

    said = capsys.readouterr().out
    for part in (
        "verdict   passed: the steady state held",
        "observed flag true, used_mib 512 (the host would have ended it after 30 s)",
        "restored flag false",
        "the chain holds",
        str(played.run),
    ):
        assert part in said


def test_a_changed_ledger_is_told_and_proves_nothing(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = played.run / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"used_mib": 512', '"used_mib": 513'))

    assert main(["runs", "show"]) == 4
    said = capsys.readouterr().out
    assert "THE CHAIN DOES NOT HOLD" in said
    assert "does not carry the digest of the line before it" in said
    assert main(["runs"]) == 0
    assert "[the ledger does not hold]" in capsys.readouterr().out


def test_a_run_without_its_end_is_lost(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = played.run / "ledger.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-1]))

    assert main(["runs", "show", "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert (shown["verdict"], shown["lost"], shown["exit_code"]) == ("inconclusive", True, 4)


def test_an_unknown_run_is_one_sentence(played: Played, caplog: pytest.LogCaptureFixture) -> None:
    assert played.status == 0
    assert main(["runs", "show", "nothing-like-it"]) == 2
    assert ["names no run" in message for message in caplog.messages] == [True]


def test_no_runs_is_no_error_and_nothing_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert "no runs here" in capsys.readouterr().out
    assert main(["runs", "show"]) == 2
