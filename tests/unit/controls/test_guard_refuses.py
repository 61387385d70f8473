# SPDX-License-Identifier: Apache-2.0
"""What the guard refuses before anything is played, and the rollback strategy that it forces."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from support.chaos import GUARD, TINY, UNDO_ALL, Chaos, Played, experiment, play, python


def _refused(played: Played) -> str:
    """Check that nothing was played and return why."""
    assert played.status == 1
    assert played.journal["run"] == []
    assert played.journal["rollbacks"] == []
    assert "lease.reserved" not in played.types
    verdict, reason = played.verdict
    assert verdict == "inconclusive"
    assert reason.startswith("refused: ")
    return reason


@pytest.mark.parametrize(
    ("rollbacks", "reason"),
    [
        (None, "no rollback that undoes the run"),
        ([python("other", "says")], "no rollback that undoes the run"),
        ([{**UNDO_ALL, "background": True}], "is in the background"),
        ([UNDO_ALL, {"ref": "nobody"}], "The rollback ref 'nobody' names no activity"),
        ([UNDO_ALL, python("gone", "says", module="no.such.module")], "The rollback 'gone' cannot be loaded"),
        ([UNDO_ALL, python("gone", "no_such_function")], "which does not exist"),
    ],
    ids=["none", "other", "background", "unknown-ref", "no-module", "no-function"],
)
def test_an_experiment_whose_rollbacks_cannot_undo_the_run_is_refused(
    tmp_path: Path, rollbacks: list[dict[str, Any]] | None, reason: str
) -> None:
    method = [python("break it", "break_it")]
    assert reason in _refused(play(tmp_path, experiment(method, rollbacks=rollbacks), "--no-validation"))


def test_an_undo_that_is_named_by_a_known_ref_is_taken(tmp_path: Path) -> None:
    method = [python("break it", "break_it"), {**UNDO_ALL, "name": "put it back"}]
    played = play(tmp_path, experiment(method, rollbacks=[{"ref": "put it back"}]))

    assert played.journal["rollbacks"][0]["status"] == "succeeded"
    assert not played.broken


@pytest.mark.parametrize("strategy", ["never", "default", "deviated"])
def test_the_rollback_strategy_is_always_whatever_the_file_says(tmp_path: Path, strategy: str) -> None:
    content = experiment([python("break it", "break_it")], runtime={"rollbacks": {"strategy": strategy}})
    played = play(tmp_path, content)

    assert [run["status"] for run in played.journal["rollbacks"]] == ["succeeded"]
    assert "Rollbacks strategy: always" in played.said


@pytest.mark.parametrize("where", ["option", "settings"])
def test_the_rollback_strategy_is_always_whatever_command_line_and_settings_say(tmp_path: Path, where: str) -> None:
    content = experiment([python("break it", "break_it")])
    if where == "settings":
        (tmp_path / "none.yaml").write_text("runtime: {rollbacks: {strategy: never}}")
    options = ("--rollback-strategy", "never") if where == "option" else ()
    played = play(tmp_path, content, *options)

    assert [run["status"] for run in played.journal["rollbacks"]] == ["succeeded"]


def test_without_the_guard_never_means_never(tmp_path: Path) -> None:
    content = experiment(
        [python("break", "set_aside")],
        controls=[],
        rollbacks=[python("back", "says")],
        runtime={"rollbacks": {"strategy": "never"}},
    )
    assert play(tmp_path, content).journal["rollbacks"] == []


def test_a_host_that_is_halted_refuses(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/halt").write_text("the night shift asked for it")
    reason = _refused(play(tmp_path, experiment([python("break it", "break_it")])))

    assert "halted by tester: the night shift asked for it" in reason
    assert "chaosgpu resume" in reason


def test_an_agent_that_does_not_answer_refuses(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, experiment([python("break it", "break_it")]), TINY_AGENT=str(tmp_path / "gone"))
    assert "The agent must answer before a fault may be put in" in _refused(chaos.finish())


def test_a_run_directory_that_cannot_be_made_refuses_and_the_journal_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    chaos = Chaos(tmp_path, experiment([python("break it", "break_it")]), CHAOSGPU_RUNS=str(tmp_path / "file/runs"))
    played = chaos.finish()

    assert played.status == 1
    assert played.journal["run"] == []
    assert "could not be made" in played.journal["chaosgpu"]["reason"]
    assert not played.broken


@pytest.mark.parametrize("rollbacks", [None, [UNDO_ALL]], ids=["refused", "complete"])
def test_a_guard_whose_hook_before_the_experiment_is_left_out_guards_all_the_same(
    tmp_path: Path, rollbacks: list[dict[str, Any]] | None
) -> None:
    method = [python("break it", "break_it"), python("wait", "wait", seconds=20, mark=str(tmp_path / "waiting"))]
    content = experiment(method, controls=[TINY, GUARD | {"scope": "after"}], rollbacks=rollbacks)
    chaos = Chaos(tmp_path, content)
    chaos.wait_for(tmp_path / "waiting")
    assert (tmp_path / "agent/broken").exists() is (rollbacks is not None)
    chaos.send(signal.SIGTERM)
    played = chaos.finish(15)

    assert played.status == 1
    assert played.verdict[0] == "inconclusive"
    assert not played.broken


def test_a_dry_run_with_an_activity_of_its_own_dry_is_refused(tmp_path: Path) -> None:
    method = [{**python("break it", "break_it"), "dry": "probes"}]
    played = play(tmp_path, experiment(method), "--dry", "activities")

    assert played.status == 1
    assert played.journal["run"] == []
    assert not played.broken


def test_a_full_disk_before_the_fault_means_no_fault(tmp_path: Path) -> None:
    method = [python("fill the disk", "limit_files", size_bytes=1), python("break it", "break_it")]
    played = play(tmp_path, experiment(method), "--journal-path", "/dev/stdout")

    assert played.status == 1
    assert not played.broken
    assert not (tmp_path / "agent/leases.json").exists()
    assert "could not be written to the ledger" in played.said


def test_a_full_disk_after_the_fault_does_not_stop_the_undo_and_the_run_is_not_green(tmp_path: Path) -> None:
    method = [python("break it", "break_it"), python("fill the disk", "limit_files", size_bytes=1)]
    played = play(tmp_path, experiment(method), "--journal-path", "/dev/stdout")

    assert played.status == 1
    assert not played.broken
    assert "VERDICT inconclusive: the record is incomplete" in played.said
    assert "UNDONE tiny.flag" in played.said


def test_secrets_are_in_no_file_of_the_run_nor_on_the_terminal(tmp_path: Path) -> None:
    secret = 'pa"ss w0rd/ä'  # noqa: S105 (made up)
    method = [
        {**python("say it", "says", value=f"Authorization: Basic {secret}")},
        {**python("say it again", "fail", say=f"cannot log in with {secret}")},
    ]
    content = experiment(
        method,
        secrets={"site": {"password": {"type": "env", "key": "THE_SECRET"}, "inline": "in-the-file"}},
        configuration={"site_token": {"type": "env", "key": "THE_TOKEN"}, "where": "http://me:url-pass@host/"},
    )
    played = Chaos(tmp_path, content, THE_SECRET=secret, THE_TOKEN="tok-12345").finish()  # noqa: S106 (made up)

    written = {path: path.read_text() for path in played.run.rglob("*") if path.is_file()}
    written |= {tmp_path / name: (tmp_path / name).read_text() for name in ("journal.json", "chaostoolkit.log")}
    for text in [*written.values(), played.said]:
        for leak in (secret, json.dumps(secret)[1:-1], "in-the-file", "tok-12345", "url-pass"):
            assert leak not in text
    assert "[redacted]" in written[played.run / "ledger.jsonl"]
