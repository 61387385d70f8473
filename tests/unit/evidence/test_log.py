# SPDX-License-Identifier: Apache-2.0
"""The site's evidence log: what it takes, what it refuses, and what it shows of a change."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from chaosgpu.errors import BadArgument, EvidenceBroken
from chaosgpu.evidence import register
from chaosgpu.evidence.checkpoint import head_of, read_checkpoint
from chaosgpu.evidence.log import EvidenceLog, read_raw
from chaosgpu.evidence.log_rules import read_log

PLAN, OTHER = "a" * 64, "b" * 64
START = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)


class Clock:
    """A clock that goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


@pytest.fixture
def log(tmp_path: Path) -> EvidenceLog:
    return EvidenceLog(tmp_path / "site", Clock())


def _drill(log: EvidenceLog, attempt: str = "try-1", *, end: bool = True) -> None:
    register.planned(log, "leak", PLAN, change_id="CHG-1")
    register.approved(log, "leak", PLAN, "anna@site", OTHER)
    register.started(log, "leak", attempt, PLAN, operator="bert")
    if end:
        register.aborted(log, "leak", attempt, "the window closed")


def _problems(log: EvidenceLog) -> tuple[str, ...]:
    return read_log(*read_raw(log.directory)).problems


def test_a_drill_from_plan_to_end_is_a_chain_that_holds(log: EvidenceLog) -> None:
    _drill(log)
    read = read_log(*read_raw(log.directory))
    assert [entry["type"] for entry in read.entries] == ["planned", "approved", "started", "aborted"]
    assert (read.problems, read.missing) == ((), ())
    assert read.attempts["try-1"].end is not None
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.directory.stat().st_mode & 0o777 == 0o700


def test_an_attempt_without_an_end_is_missing_it(log: EvidenceLog) -> None:
    _drill(log, end=False)
    read = read_log(*read_raw(log.directory))
    assert read.problems == ()
    assert len(read.missing) == 1
    assert "try-1" in read.missing[0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda log: register.started(log, "leak", "try-1", PLAN), "starts attempt try-1 a second time"),
        (lambda log: register.aborted(log, "leak", "try-1", "again"), "ends attempt try-1 a second time"),
        (lambda log: register.aborted(log, "leak", "try-2", "never"), "has not started"),
        (lambda log: register.aborted(log, "burn", "try-1", "of another drill"), "has not started"),
        (lambda log: register.residue(log, "leak", "try-2", "gpu1", "a qdisc"), "has not started"),
        (lambda log: register.started(log, "leak", "try-2", OTHER), "was not planned before"),
        (lambda log: register.approved(log, "leak", OTHER, "anna", OTHER), "was not planned before"),
        (lambda log: register.planned(log, "leak", "not a digest"), "must be a SHA-256"),
        (lambda log: register.planned(log, "../leak", PLAN), "needs a drill of letters"),
        (lambda log: register.planned(log, "leak", PLAN, seq=9), "may not set seq"),
        (lambda log: log.append("invented", "leak"), "is no type of entry"),
        (lambda log: log.append("started", "leak", "try-9"), "needs plan_sha256"),
    ],
)
def test_what_would_break_the_log_for_good_is_refused_in_a_sentence(log: EvidenceLog, said: object, why: str) -> None:
    _drill(log)
    before = log.path.read_bytes()
    assert callable(said)
    with pytest.raises(BadArgument, match=why):
        said(log)
    assert log.path.read_bytes() == before


def _changed(lines: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    yield "a word changed", [lines[0].replace(b"CHG-1", b"CHG-2"), *lines[1:]]
    yield "a line taken out", [lines[0], *lines[2:]]
    yield "two lines swapped", [lines[0], lines[2], lines[1], *lines[3:]]
    yield "a space more", [lines[0].replace(b'"seq": 1', b'"seq":  1'), *lines[1:]]
    yield "a key twice", [lines[0][:-1] + b', "change_id": "CHG-1"}', *lines[1:]]
    yield "no number", [lines[0][:-1] + b', "x": NaN}', *lines[1:]]
    yield "a huge number", [lines[0][:-1] + b', "x": 1e999}', *lines[1:]]
    yield "no JSON", [b"", *lines]


def test_whatever_is_changed_in_the_log_shows(log: EvidenceLog) -> None:
    _drill(log)
    lines, _ = read_raw(log.directory)
    for what, changed in _changed(lines):
        assert read_log(changed).problems, what
    assert read_log(lines).problems == ()


def test_every_flipped_byte_of_the_log_shows(log: EvidenceLog) -> None:
    _drill(log)
    whole = log.path.read_bytes()
    head = head_of(read_log(*read_raw(log.directory)))
    for place in range(len(whole)):
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        *lines, torn = flipped.split(b"\n")
        read = read_log(lines, torn)
        assert read.problems or head.broken_by(read), place


def test_a_checkpoint_shows_a_log_that_was_cut_or_written_anew(log: EvidenceLog) -> None:
    _drill(log)
    lines, _ = read_raw(log.directory)
    kept = read_checkpoint(head_of(read_log(lines)).write())
    assert kept.broken_by(read_log(lines)) is None
    assert "cut off" in str(kept.broken_by(read_log(lines[:-1])))
    other = EvidenceLog(log.directory.with_name("other"), Clock())
    _drill(other, "try-9")
    anew = read_log(*read_raw(other.directory))
    assert anew.problems == ()
    assert "written anew" in str(kept.broken_by(anew))


def test_a_torn_line_is_kept_aside_and_noted(log: EvidenceLog) -> None:
    _drill(log)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"seq": 5, "pr')
    assert "torn" in _problems(log)[0]
    register.skipped(log, "leak", "2026-11-27T10:00:00Z", "the host was quarantined")
    read = read_log(*read_raw(log.directory))
    assert read.problems == ()
    assert [entry["type"] for entry in read.entries][-2:] == ["log-repaired", "drill-skipped"]
    assert (log.directory / "log.jsonl.torn-5").read_bytes() == b'{"seq": 5, "pr'


def test_a_log_that_is_only_a_torn_line_begins_anew(log: EvidenceLog) -> None:
    log.directory.mkdir()
    log.path.write_bytes(b"{")
    register.planned(log, "leak", PLAN)
    assert _problems(log) == ()


def test_nothing_is_chained_to_a_last_line_that_is_no_entry(log: EvidenceLog) -> None:
    _drill(log)
    with log.path.open("ab") as file:
        file.write(b"by hand\n")
    with pytest.raises(EvidenceBroken, match="is no entry"):
        register.planned(log, "leak", PLAN)


def test_a_clock_that_is_set_back_neither_breaks_the_order_nor_is_hidden(log: EvidenceLog) -> None:
    register.planned(log, "leak", PLAN)
    back = EvidenceLog(log.directory, lambda: START - timedelta(days=1))
    register.planned(back, "leak", PLAN, zone="UTC")
    entries = read_log(*read_raw(log.directory)).entries
    assert _problems(log) == ()
    assert entries[1]["at"] == entries[0]["at"]
    assert entries[1]["clock"] == "2026-11-25T10:00:00.000Z"


def test_a_log_that_may_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file where the folder should be")
    with pytest.raises(EvidenceBroken, match="Without it no drill starts"):
        register.planned(EvidenceLog(tmp_path / "site", Clock()), "leak", PLAN)


def test_a_finished_run_is_named_by_its_verdict_and_its_ledgers_last_line(log: EvidenceLog, tmp_path: Path) -> None:
    register.planned(log, "leak", PLAN)
    register.started(log, "leak", "try-1", PLAN)
    run = tmp_path / "20261126T100000Z-abcdef"
    run.mkdir()
    zero = "0" * 64
    said = {"seq": 1, "prev": zero, "at": "2026-11-26T10:00:00.000Z", "run": run.name, "type": "run.finished"}
    (run / "ledger.jsonl").write_text(json.dumps({**said, "verdict": "deviated", "reason": "late"}) + "\n")
    register.finished(log, "leak", "try-1", run)
    entry = read_log(*read_raw(log.directory)).entries[-1]
    assert [entry[name] for name in ("type", "verdict", "ledger_lines")] == ["finished", "deviated", 1]


def test_a_run_without_an_end_is_never_noted_as_finished(log: EvidenceLog, tmp_path: Path) -> None:
    register.planned(log, "leak", PLAN)
    register.started(log, "leak", "try-1", PLAN)
    (tmp_path / "gone").mkdir()
    register.finished(log, "leak", "try-1", tmp_path / "gone")
    entry = read_log(*read_raw(log.directory)).entries[-1]
    assert [entry[name] for name in ("type", "verdict", "ledger_lines")] == ["aborted", "inconclusive", 0]


def _append(directory: Path, name: str) -> None:
    log = EvidenceLog(directory, lambda: datetime.now(UTC))
    for number in range(20):
        register.planned(log, f"{name}-{number}", PLAN)


def test_processes_that_append_at_once_make_one_chain(log: EvidenceLog) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_append, args=(log.directory, f"drill{number}")) for number in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    read = read_log(*read_raw(log.directory))
    assert (len(read.entries), read.problems) == (60, ())


_ENDLESS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from chaosgpu.evidence import register
from chaosgpu.evidence.log import EvidenceLog
log = EvidenceLog(Path(sys.argv[1]), lambda: datetime.now(UTC))
for number in range(10**6):
    written = register.planned(log, f"drill-{number}", "a" * 64)
    sys.stdout.write(f"{written.digest}\\n")
    sys.stdout.flush()
"""


def test_whoever_is_killed_what_was_said_to_be_written_is_in_the_log(log: EvidenceLog) -> None:
    for wait_s in (0.0, 0.013, 0.037):
        command = [sys.executable, "-c", _ENDLESS, str(log.directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            told = [child.stdout.readline().strip()]
            time.sleep(wait_s)
            os.kill(child.pid, signal.SIGKILL)
            told += [line.strip() for line in child.stdout if line.endswith(b"\n")]
        register.planned(log, "after", PLAN)
        read = read_log(*read_raw(log.directory))
        assert read.problems == ()
        assert {line.decode() for line in told} <= set(read.digests)


def test_the_command_shows_the_log_and_its_exit_code_says_whether_it_holds(
    log: EvidenceLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _drill(log)
    site = ["evidence", "log", "--site", str(log.directory)]
    assert main(site) == 0
    shown = capsys.readouterr().out
    assert "aborted       leak try-1: reason the window closed" in shown
    assert "the log holds" in shown
    assert main([*site, "--checkpoint"]) == 0
    kept = tmp_path / "checkpoint"
    kept.write_text(capsys.readouterr().out)
    register.started(log, "leak", "try-2", PLAN)
    assert main([*site, "--against", str(kept)]) == 4
    assert "MISSING   Attempt try-2" in capsys.readouterr().out
    log.path.write_bytes(log.path.read_bytes().replace(b"CHG-1", b"CHG-2"))
    assert main([*site, "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["problems"]
    assert main([*site, "--against", str(log.path)]) == 2


def test_a_checkpoint_that_is_given_away_is_noted_and_what_is_newer_is_told(
    log: EvidenceLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = ["evidence", "log", "--site", str(log.directory)]
    assert main([*site, "--given-to", "nobody yet"]) == 2
    log = EvidenceLog(log.directory, lambda: datetime.now(UTC))
    _drill(log)
    assert main(site) == 0
    assert "1 starts are newer" in capsys.readouterr().out
    assert main([*site, "--given-to", "the auditor, by mail"]) == 0
    kept = tmp_path / "kept"
    kept.write_text(capsys.readouterr().out)
    assert main([*site, "--against", str(kept)]) == 0
    shown = capsys.readouterr().out
    assert "newer" not in shown
    assert "where the auditor, by mail" in shown


def test_without_a_log_there_is_nothing_and_nothing_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", "log", "--site", str(tmp_path / "none")]) == 0
    assert "0 entries" in capsys.readouterr().out
