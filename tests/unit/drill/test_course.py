# SPDX-License-Identifier: Apache-2.0
"""The course of a drill: what is refused is on record and nothing is played; what begins has an end on record."""

import datetime as dt
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.drill.approval import folder_of, statement
from chaosgpu.drill.claims import claimed
from chaosgpu.drill.command import Done
from chaosgpu.drill.course import run_drill
from chaosgpu.drill.planfile import read
from chaosgpu.drill.site import ChangeCheck
from chaosgpu.drill.state import every_drill, named_drill
from chaosgpu.drill.syslog import words
from chaosgpu.errors import BadArgument, ChaosGpuError, Refused
from chaosgpu.evidence.kept import approved_for
from chaosgpu.lease.verdict import Verdict
from support.drills import World, experiment

HOOK = {"url_from_env": "HOOK"}


def test_a_drill_is_on_record_before_its_first_fault_and_to_its_end(world: World) -> None:
    seen: list[list[str]] = []
    world.player.during = lambda: seen.append(world.types)
    ended = run_drill(world.plan("bob@lab", notify=HOOK), world.means(), scheduled=True)
    assert (ended.verdict, ended.whole) == (Verdict.PASSED, True)
    assert seen == [["planned", "approved", "started", "started"]]
    assert world.types == ["planned", "approved", "started", "started", "finished", "finished"]
    log = world.record.read()
    assert (log.problems, log.missing) == ((), ())
    run, drill = log.entries[-2:]
    assert (run["run"], run["verdict"], run["part_of"]) == ("run-1", "passed", ended.name)
    assert (drill["verdict"], drill["level"], drill["change_id"]) == ("passed", 1, "CHG-1042")
    assert [one["what"] for one in world.posted] == ["started", "finished"]
    assert {one["change_id"] for one in world.posted} == {"CHG-1042"}
    [step] = world.player.steps
    assert step.environment["CHAOSGPU_CHANGE_TICKET"] == "CHG-1042"
    handed = json.loads(Path(step.environment["CHAOSGPU_APPROVAL"]).read_text())
    assert handed["statement"].encode() == statement(read(world.folder / "plan.yaml"))
    assert [one["by"] for one in handed["signatures"]] == ["bob@lab"]
    assert (step.deadline_s, step.undo_s) == (600, 300)
    assert "DRILL VERDICT passed: as it was told" in world.said.getvalue()


def test_a_second_time_the_plan_and_its_approval_are_not_noted_again(world: World) -> None:
    written = world.plan("bob@lab")
    for _ in range(2):
        run_drill(written, world.means())
    assert world.types.count("planned") == world.types.count("approved") == 1
    assert world.types.count("finished") == 4


def _refused(world: World, sentence: str, error: type[ChaosGpuError] = Refused, **changes: Any) -> None:
    """Refuse, record, play nothing."""
    with pytest.raises(error) as said:
        run_drill(read(world.folder / "plan.yaml"), world.means(**changes))
    assert sentence in str(said.value)
    assert "\n" not in str(said.value)
    assert (world.last["type"], world.last["how"], world.last["reason"]) == (
        "drill-skipped",
        "refused",
        str(said.value),
    )
    assert world.player.steps == []
    assert "started" not in world.types
    assert world.record.read().problems == ()


def test_a_window_that_never_opens(world: World) -> None:
    world.plan("bob@lab", window__days=["sat"], window__last="2026-12-04")
    _refused(world, "The window never opens", BadArgument)


def test_a_window_in_a_clock_change(world: World) -> None:
    world.write(window__days=["sun"], window__opens="01:00", window__closes="04:00", window__last="2027-03-28")
    _refused(world, "falls into a clock change", BadArgument)


def test_outside_of_the_window(world: World) -> None:
    world.plan("bob@lab")
    world.clock.move(hours=8)
    _refused(world, "outside of the window")


def test_a_plan_that_was_changed_after_its_approval(world: World) -> None:
    path = world.plan("bob@lab").path
    path.write_text(path.read_text().replace("blast_radius: 1", "blast_radius: 1 ") + "# more\n")
    _refused(world, "the signature of bob@lab does not hold for this plan")


def test_a_plan_that_its_operator_signed(world: World) -> None:
    written = world.plan("bob@lab")
    (folder_of(written.path) / "bob@lab.sig").rename(folder_of(written.path) / "alice@lab.sig")
    _refused(world, "alice@lab is the operator, and nobody approves what is his own")


def test_a_plan_that_whoever_runs_it_signed(world: World) -> None:
    world.plan("bob@lab")
    _refused(world, "bob@lab is the operator", operator="bob")


def test_a_plan_cannot_ask_for_fewer_approvals_than_the_site(world: World) -> None:
    world.plan(approvals={"needed": 0, "valid_until": "2027-02-28"})
    _refused(world, "needs 1 approvals")
    world.site = world.site.model_copy(update={"approvals": 0})
    assert run_drill(read(world.folder / "plan.yaml"), world.means()).verdict is Verdict.PASSED


def test_a_level_that_is_skipped(world: World) -> None:
    written = world.plan("bob@lab", level=2)
    _refused(world, "leak is of level 2, which needs a passed drill of level 1 of embedding, and none is on record")
    below = {"drill": "below", "name": "below.yaml"}
    for changes, verdict, sentence in (
        ({"scope": "another"}, "passed", "none is on record"),
        ({}, "deviated", "the last one ended as deviated"),
    ):
        world.player.verdicts = [verdict]
        run_drill(world.plan("bob@lab", **below, **changes), world.means())
        with pytest.raises(Refused, match=sentence):
            run_drill(written, world.means())
    world.player.verdicts = ["passed"]
    run_drill(world.plan("bob@lab", **below), world.means())
    assert run_drill(written, world.means()).verdict is Verdict.PASSED


def test_a_level_that_was_passed_too_long_ago(world: World) -> None:
    run_drill(world.plan("bob@lab", drill="below", name="below.yaml"), world.means())
    written = world.plan("bob@lab", level=2)
    world.site = world.site.model_copy(update={"level_counts_days": 5})
    world.clock.move(days=7)
    with pytest.raises(Refused, match="the last one that passed is older than 5 days"):
        run_drill(written, world.means())


def test_two_drills_on_one_host(world: World) -> None:
    first, second = world.plan("bob@lab"), world.plan("bob@lab", drill="other", name="other.yaml")
    at_once: list[str] = []

    def begin_another() -> None:
        world.player.during = lambda: None
        with pytest.raises(Refused, match="Another drill of this machine has the host localhost") as said:
            run_drill(second, world.means())
        at_once.append(str(said.value))

    world.player.during = begin_another
    assert run_drill(first, world.means()).verdict is Verdict.PASSED
    assert len(at_once) == 1
    assert world.types.count("drill-skipped") == 1
    assert run_drill(second, world.means()).verdict is Verdict.PASSED  # the claim goes with its drill


def test_the_claim_is_on_a_host_by_its_name_and_on_this_one_by_the_home_of_its_agent() -> None:
    name = f"gpu-{os.getpid()}"
    with claimed([name], None), claimed(["localhost"], "/one"):
        with pytest.raises(Refused, match=f"has the host {name}"), claimed(["other", name], "/one"):
            raise AssertionError
        with pytest.raises(Refused, match="has the host localhost"), claimed(["localhost"], "/one"):
            raise AssertionError
        with claimed(["localhost"], "/two"), claimed(["other"], None):
            pass


def test_a_host_that_is_not_free(world: World) -> None:
    world.plan("bob@lab")

    def look(_: object) -> None:
        raise Refused("gpu1 is not free: gpu.memory.leak of run r is in force there.")

    _refused(world, "gpu1 is not free", look=look)


@pytest.mark.parametrize(
    ("status", "sentence"), [(1, "is not valid, says check-change (status 1): it is closed."), (0, "")]
)
def test_the_sites_own_command_validates_the_change(world: World, status: int, sentence: str) -> None:
    asked: list[list[str]] = []

    def run(command: Any, given: bytes, within_s: float) -> Done:
        assert (given, within_s) == (b"", 7)
        asked.append([*command])
        return Done(status, b"", "it is closed\n")

    check = ChangeCheck(command=["check-change", "--id={change_id}"], within_s=7)
    world.site = world.site.model_copy(update={"change_check": check})
    world.plan("bob@lab")
    if sentence:
        _refused(world, sentence, run=run)
    else:
        run_drill(read(world.folder / "plan.yaml"), world.means(run=run))
    assert asked == [["check-change", "--id=CHG-1042"]]


def test_a_command_that_hangs_or_is_not_there_is_a_no(world: World) -> None:
    world.plan("bob@lab")
    hangs = world.folder / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 60\n")
    hangs.chmod(0o700)
    for command, sentence in ((str(hangs), "gave no answer within 0.3 s"), ("/nonexistent/x", "could not be started")):
        check = ChangeCheck(command=[command, "{change_id}"], within_s=0.3)
        world.site = world.site.model_copy(update={"change_check": check})
        _refused(world, sentence)


def test_a_site_that_checks_changes_wants_one(world: World) -> None:
    world.site = world.site.model_copy(update={"change_check": ChangeCheck(command=["true"])})
    world.plan("bob@lab", change_id=None)
    _refused(world, "This site demands a change_id")


def test_nobody_would_be_told(world: World) -> None:
    world.plan("bob@lab", notify=HOOK)
    _refused(world, "$HOOK is not set", BadArgument, environment={"CHAOSGPU_AGENT_HOME": str(world.folder)})


def test_a_message_that_does_not_arrive_stops_nothing_and_is_on_record_without_the_address(world: World) -> None:
    world.plan("bob@lab", notify=HOOK)
    means = world.means(send=lambda url, body, within_s: f"it could not be reached: {url}")  # noqa: ARG005 (contract)
    assert run_drill(read(world.folder / "plan.yaml"), means).verdict is Verdict.PASSED
    [first, *_] = world.last["untold"]
    assert first.startswith("started was not told: it could not be reached")
    assert "secret-path" not in (world.record.directory / "log.jsonl").read_text()


def test_an_evidence_log_that_does_not_hold_starts_nothing(world: World) -> None:
    run_drill(world.plan("bob@lab"), world.means())
    path = world.record.directory / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"verdict": "passed"', b'"verdict": "passes"', 1))
    world.player.steps.clear()
    with pytest.raises(Refused, match="does not hold: Line"):
        run_drill(read(world.folder / "plan.yaml"), world.means())
    assert world.player.steps == []


def _three(world: World) -> list[dict[str, Any]]:
    for name in ("a", "b", "c"):
        (world.folder / f"{name}.json").write_text(json.dumps(experiment(title=name)))
    return [world.planned(f"{name}.json", deadline_minutes=5) for name in ("a", "b", "c")]


@pytest.mark.parametrize(
    ("verdicts", "played", "verdict", "reason"),
    [
        (["passed"] * 3, 3, "passed", "as it was told"),
        (["passed", "deviated", "passed"], 2, "inconclusive", "b.json deviated, and the plan does not go on"),
        (["inconclusive"], 1, "inconclusive", "a.json ended as inconclusive: what follows is not played"),
        (["passed", "unsafe"], 2, "unsafe", "b.json ended as unsafe"),
        (["passed", "passed", "unsafe"], 3, "unsafe", "as it was told"),
        (["passed", "nonsense"], 2, "inconclusive", "b.json ended as inconclusive"),
    ],
)
def test_what_follows_a_run_that_did_not_pass(
    world: World, verdicts: list[str], played: int, verdict: str, reason: str
) -> None:
    world.player.verdicts = verdicts
    if "nonsense" in verdicts:
        world.player.verdicts = ["passed", "inconclusive"]
    ended = run_drill(world.plan("bob@lab", experiments=_three(world)), world.means())
    assert (len(world.player.steps), ended.verdict) == (played, verdict)
    assert reason in ended.reason
    log = world.record.read()
    assert (log.problems, log.missing) == ((), ())
    assert world.types.count("residue") == verdicts.count("unsafe")
    assert world.last["type"] == ("finished" if played == 3 else "aborted")


def test_a_plan_may_go_on_after_a_deviation(world: World) -> None:
    world.player.verdicts = ["deviated", "passed", "passed"]
    written = world.plan("bob@lab", experiments=_three(world), go_on_after_deviation=True)
    assert run_drill(written, world.means()).verdict is Verdict.DEVIATED
    assert len(world.player.steps) == 3


def test_a_fault_that_the_plan_does_not_name_proves_nothing(world: World) -> None:
    world.player.faults = ["gpu.memory.leak", "gpu.power.cap"]
    ended = run_drill(world.plan("bob@lab"), world.means())
    assert (ended.verdict, ended.reason) == (
        Verdict.INCONCLUSIVE, "it put in gpu.power.cap, which the plan does not name",
    )  # fmt: skip


def test_a_fault_that_may_last_longer_than_planned_proves_nothing(world: World) -> None:
    world.player.longest_s = 121
    ended = run_drill(world.plan("bob@lab"), world.means())
    assert ended.verdict is Verdict.INCONCLUSIVE
    assert ended.reason == "it put in gpu.memory.leak for up to 121 s, and the plan allows 120"


def test_what_was_approved_is_kept_beside_the_log_by_its_digest(world: World) -> None:
    written = world.plan("bob@lab")
    run_drill(written, world.means())
    found = approved_for(world.record.directory, world.record.read(), Path("run-1"), None)
    assert found is not None
    assert (found.plan, found.statement) == (written.raw, statement(written))
    assert found.signatures == ((folder_of(written.path) / "bob@lab.sig").read_bytes(),)


def test_the_change_is_in_the_system_log(world: World) -> None:
    written = world.plan("bob@lab")
    run_drill(written, world.means())
    with pytest.raises(Refused):
        run_drill(written, world.means(operator="bob"))
    assert [line.split()[0] for line in world.logged] == ["started", "finished", "refused"]
    assert all(" drill=leak " in line and " change=CHG-1042 " in line for line in world.logged)
    assert words("x", reason='a "b"\nfinished drill=leak') == 'x reason="a ?b??finished drill=leak"'


def test_somebody_stops_it(world: World) -> None:
    written = world.plan("bob@lab", experiments=_three(world))
    home = world.site.path(world.site.drills)
    world.player.during = lambda: named_drill(home, "leak").ask_to_stop("bob", "users complain")
    ended = run_drill(written, world.means())
    assert (ended.verdict, ended.whole) == (Verdict.INCONCLUSIVE, False)
    assert ended.reason == "stopped by bob: users complain; 1 of 3 experiments were played"
    assert world.last["type"] == "aborted"
    assert named_drill(home, "leak").said["state"] == "ended"


def test_nothing_more_is_begun_where_the_window_leaves_no_time(world: World) -> None:
    written = world.plan(
        "bob@lab", experiments=_three(world), window__opens="09:00", window__closes="09:31", schedule=None
    )
    world.player.during = lambda: world.clock.move(minutes=22)
    ended = run_drill(written, world.means())
    assert ended.reason == "the window closes before it could end; 1 of 3 experiments were played"


def test_what_was_approved_is_played_whatever_becomes_of_the_file_meanwhile(world: World) -> None:
    written = world.plan("bob@lab", experiments=_three(world))
    world.player.during = lambda: [(world.folder / f"{name}.json").write_text("{}") for name in "bc"]  # type: ignore[assignment]  # what it returns is of no interest
    run_drill(written, world.means())
    assert [json.loads(step.experiment.read_text())["title"] for step in world.player.steps] == ["a", "b", "c"]


def test_a_player_that_breaks_off_leaves_an_end_on_record_and_no_refusal(world: World) -> None:
    def breaks() -> None:
        raise BadArgument("a mistake")

    world.player.during = breaks
    with pytest.raises(BadArgument, match="a mistake"):
        run_drill(world.plan("bob@lab"), world.means())
    log = world.record.read()
    assert (log.problems, log.missing) == ((), ())
    assert "drill-skipped" not in world.types
    assert world.last["reason"].startswith("it broke off: a mistake")


def test_a_living_drill_is_seen_as_such_from_another_process(world: World) -> None:
    home = world.site.path(world.site.drills)
    found: list[bool] = []
    world.player.during = lambda: found.extend(one.lives for one in every_drill(home))
    run_drill(world.plan("bob@lab"), world.means())
    assert found == [True]
    assert [one.lives for one in every_drill(home)] == [False]
    assert threading.active_count() >= 1


def test_the_start_of_a_timer_is_on_record_as_that_start(world: World) -> None:
    world.clock.move(minutes=31)
    run_drill(world.plan("bob@lab"), world.means(), scheduled=True)
    [started, *_] = [one for one in world.record.read().entries if one["type"] == "started"]
    assert started["occurrence"] == "2026-11-30T08:30:00.000Z"
    assert dt.datetime.fromisoformat(str(started["at"])).minute == 31
