# SPDX-License-Identifier: Apache-2.0
"""The verdict, on the real `chaos run`. Each case has its negative control: plain Chaos Toolkit would end green."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.lease.chain import verify_chain
from chaosgpu.lease.ledger import read_lines
from support.chaos import GUARD, TINY, UNDO_ALL, experiment, play, python


def test_a_verified_and_restored_fault_under_a_steady_state_passes(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([python("break it", "break_it"), python("health", "holds", kind="probe")]))

    assert played.status == 0
    assert played.verdict == ("passed", "the steady state held under tiny.flag, and everything was put back")
    assert not played.broken
    active = next(entry for entry in played.ledger if entry["type"] == "lease.active")
    clean = next(entry for entry in played.ledger if entry["type"] == "lease.clean")
    assert active["observed"] == {"flag": True, "used_mib": 512}
    assert clean["restored"] == {"flag": False}
    assert clean["host_history"] == [{"state": "active", "at": "host time"}]
    assert verify_chain(read_lines(played.run / "ledger.jsonl")[0]) == []


def test_the_terminal_shows_what_is_hit_each_fault_each_undo_the_verdict_and_the_record_in_this_order(
    tmp_path: Path,
) -> None:
    method = [python("break it", "break_it", gpu="GPU-tiny"), python("health", "holds", kind="probe")]
    played = play(tmp_path, experiment(method))

    told = ["WILL HIT", "FAULT tiny.flag", "health: true", "UNDONE tiny.flag", "VERDICT passed", "RECORD"]
    places = [played.said.index(word) for word in told]
    assert places == sorted(places)
    assert "GPU-tiny (Tiny GPU): break it; processes on it: none" in played.said
    assert "ends by itself in 30 s" in played.said
    assert str(played.run) in played.said


def test_the_run_directory_is_private_and_holds_the_whole_record(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([python("break it", "break_it")]))

    assert played.run.stat().st_mode & 0o777 == 0o700
    files = {str(path.relative_to(played.run)) for path in played.run.rglob("*") if path.is_file()}
    assert {
        "ledger.jsonl",
        "journal.json",
        "experiment.json",
        "hosts/localhost/before.json",
        "hosts/localhost/after.json",
    } <= files
    copied = json.loads((played.run / "journal.json").read_text())
    assert copied["chaosgpu"]["verdict"] == "passed"
    assert copied == played.journal


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ([python("lie", "break_it", mode="unverified")], "tiny.flag on localhost was not verified"),
        ([python("lie", "break_it", mode="sees_nothing")], "tiny.flag on localhost was not verified"),
        ([python("refused", "break_it", mode="refused")], "tiny.flag on localhost was refused"),
        ([python("gone", "break_it", mode="vanishes")], "was not in force to the end: its effect is gone"),
        ([python("boom", "fail")], "the action 'boom' failed"),
        ([python("garbage", "break_it", mode="garbage")], "tiny.flag on localhost was never in force"),
        ([python("lost", "break_it", mode="lost_reply", timeout_s=0.7)], "tiny.flag on localhost was never in force"),
        (
            [
                python("soon", "set_margin", seconds=0.5),
                python("short", "break_it", duration_s=0.01),
                python("long", "wait", seconds=0.8),
                python("too late", "set_aside"),
            ],
            "was not in force to the end: its time was over",
        ),
    ],
    ids=["unverified", "sees-nothing", "refused", "vanished", "failed-action", "garbage", "lost-reply", "expired"],
)
def test_a_fault_that_was_not_proved_makes_the_run_inconclusive(
    tmp_path: Path, method: list[dict[str, Any]], reason: str
) -> None:
    played = play(tmp_path, experiment(method))

    assert played.status == 1
    verdict, why = played.verdict
    assert verdict == "inconclusive"
    assert reason in why
    assert not played.broken
    assert played.journal["chaosgpu"]["verdict"] == "inconclusive"


def test_plain_chaos_toolkit_ends_green_after_a_failed_action(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([python("boom", "fail")], controls=[TINY], rollbacks=None))

    assert played.status == 0
    assert played.journal["status"] == "completed"


def test_plain_chaos_toolkit_leaves_a_plain_fault_behind_and_ends_green(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([python("break", "set_aside")], controls=[TINY], rollbacks=None))

    assert played.status == 0
    assert played.broken


def test_a_fault_in_a_run_without_the_guard_is_refused_and_the_run_is_not_green(tmp_path: Path) -> None:
    method = [python("break it", "break_it"), python("after", "wait", seconds=0, mark="after")]
    played = play(tmp_path, experiment(method, controls=[TINY]))

    assert played.status == 1
    assert not played.broken
    assert not (tmp_path / "after").exists()
    assert "in a run without the guard control" in played.said


def test_a_fault_that_cannot_be_undone_makes_the_run_unsafe(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([python("break it", "break_it", mode="stuck")]))

    assert played.status == 1
    verdict, why = played.verdict
    assert verdict == "unsafe"
    assert "the flag will not come down; remove it by hand" in why
    assert "NOT UNDONE tiny.flag" in played.said
    assert "lease.stuck" in played.types


def test_a_lease_that_the_host_has_forgotten_is_unsafe_and_not_clean(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([python("break it", "break_it", mode="forgets")]))

    assert played.status == 1
    verdict, why = played.verdict
    assert verdict == "unsafe"
    assert "nobody knows what it left behind" in why


def test_a_steady_state_that_breaks_under_the_fault_is_deviated(tmp_path: Path) -> None:
    hypothesis = {
        "title": "not broken",
        "probes": [{**python("canary", "holds", kind="probe", until_broken=True), "tolerance": True}],
    }
    played = play(tmp_path, experiment([python("break it", "break_it")], **{"steady-state-hypothesis": hypothesis}))

    assert played.status == 1
    assert played.verdict == ("deviated", "the steady state did not hold after the method: 'canary' gave false")
    assert not played.broken


def test_a_steady_state_that_breaks_only_during_the_method_is_deviated_although_chaos_toolkit_is_green(
    tmp_path: Path,
) -> None:
    hypothesis = {
        "title": "not broken",
        "probes": [{**python("canary", "holds", kind="probe", until_broken=True), "tolerance": True}],
    }
    method = [python("break it", "break_it"), python("wait", "wait", seconds=0.6)]
    options = ("--hypothesis-strategy", "during-method-only", "--hypothesis-frequency", "0.2")
    guarded, plain = tmp_path / "guarded", tmp_path / "plain"
    for folder in (guarded, plain):
        folder.mkdir()

    played = play(guarded, experiment(method, **{"steady-state-hypothesis": hypothesis}), *options)
    green = play(
        plain,
        experiment(
            [python("break", "set_aside"), method[1]],
            **{"steady-state-hypothesis": hypothesis, "controls": [TINY], "rollbacks": None},
        ),
        *options,
    )

    assert green.status == 0
    assert played.status == 1
    assert played.verdict[0] == "deviated"
    assert "during the method" in played.verdict[1]


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        ({"steady-state-hypothesis": None}, (), "no steady-state hypothesis"),
        ({}, ("--hypothesis-strategy", "before-method-only"), "not checked during or after the method"),
    ],
    ids=["no-hypothesis", "before-only"],
)
def test_a_run_in_which_nothing_was_judged_is_inconclusive(
    tmp_path: Path, changes: dict[str, Any], options: tuple[str, ...], reason: str
) -> None:
    played = play(tmp_path, experiment([python("break it", "break_it")], **changes), *options)

    assert played.status == 1
    assert played.verdict[0] == "inconclusive"
    assert reason in played.verdict[1]


def test_a_probe_that_cannot_know_makes_the_run_inconclusive_and_not_deviated(tmp_path: Path) -> None:
    hypothesis = {
        "title": "unknown",
        "probes": [{**python("unknown", "is_unknown", kind="probe"), "tolerance": True}],
    }
    played = play(
        tmp_path,
        experiment([python("break it", "break_it")], **{"steady-state-hypothesis": hypothesis}),
        "--hypothesis-strategy",
        "after-method-only",
    )

    assert played.status == 1
    assert played.verdict[0] == "inconclusive"
    assert "nobody knows" in played.verdict[1]


def test_a_steady_state_that_does_not_hold_before_proves_nothing(tmp_path: Path) -> None:
    hypothesis = {"title": "never", "probes": [{**python("never", "holds", kind="probe"), "tolerance": False}]}
    played = play(tmp_path, experiment([python("break it", "break_it")], **{"steady-state-hypothesis": hypothesis}))

    assert played.status == 1
    assert played.verdict[0] == "inconclusive"
    assert "did not hold before the method" in played.verdict[1]
    assert "lease.reserved" not in played.types


def test_a_run_without_a_fault_is_judged_by_its_steady_state_alone_and_says_so(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([]))

    assert played.status == 0
    assert played.verdict[0] == "passed"
    assert "no fault was put in" in played.verdict[1]


def test_a_rollback_of_the_experiments_own_that_fails_is_unsafe(tmp_path: Path) -> None:
    rollbacks = [UNDO_ALL, python("load the model again", "fail")]
    played = play(tmp_path, experiment([python("break it", "break_it")], rollbacks=rollbacks))

    assert played.status == 1
    assert played.verdict[0] == "unsafe"
    assert "load the model again" in played.verdict[1]


def test_a_dry_run_puts_nothing_in_and_has_no_verdict(tmp_path: Path) -> None:
    played = play(tmp_path, experiment([python("break it", "break_it")]), "--dry", "activities")

    assert played.status == 0
    assert played.verdict[0] == "none"
    assert played.journal["chaosgpu"]["verdict"] is None
    assert "lease.reserved" not in played.types


def test_when_chaos_toolkit_dies_of_a_tolerance_the_fault_is_undone_and_the_record_is_there(tmp_path: Path) -> None:
    broken = {**python("none", "breaks_the_tolerance", kind="probe"), "tolerance": [1, 2]}
    hypothesis = {"title": "breaks", "probes": [broken]}
    played = play(
        tmp_path,
        experiment([python("break it", "break_it")], **{"steady-state-hypothesis": hypothesis}),
        "--hypothesis-strategy",
        "after-method-only",
    )

    assert played.status == 1
    assert not played.broken
    assert not (tmp_path / "journal.json").exists()
    assert played.verdict[0] == "inconclusive"
    assert json.loads((played.run / "journal.json").read_text())["chaosgpu"]["verdict"] == "inconclusive"


@pytest.mark.parametrize("own", [[TINY, GUARD], [TINY]], ids=["beside-its-own", "alone"])
def test_the_guard_as_a_global_control_is_one_guard(tmp_path: Path, own: list[dict[str, Any]]) -> None:
    (tmp_path / "controls.json").write_text(json.dumps({"guard": {"provider": GUARD["provider"]}}))
    content = experiment([python("break it", "break_it")], controls=own)
    played = play(tmp_path, content, "--control-file", "controls.json")

    assert played.status == 0
    assert played.verdict[0] == "passed"
    assert played.types.count("run.finished") == 1
    assert len(list((tmp_path / ".chaosgpu/runs").iterdir())) == 2  # the run and `latest`
