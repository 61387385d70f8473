# SPDX-License-Identifier: Apache-2.0
"""The lifecycle around a real `chaos run`, with a real ansible-playbook and stand-in playbooks, on each ending."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.lease.chain import verify_chain
from chaosgpu.lease.ledger import read_lines
from support.around import BACK, BEFORE, LIFECYCLE, THERE, Host, around, plan_with, play, recover
from support.chaos import GUARD, TINY, Played, python

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def _lines(played: Played, kind: str) -> list[dict[str, Any]]:
    return [line for line in played.ledger if line["type"] == kind]


def test_hosts_are_drained_pinned_and_brought_back_around_the_method(host: Host, tmp_path: Path) -> None:
    seen = python("the pin is in force", "says", value="${driver}")
    played = play(tmp_path, around([python("break it", "break_it"), seen]))

    assert (played.status, played.verdict[0]) == (0, "passed"), played.said
    assert host.steps == [*THERE, *BACK]
    assert (host.facts, host.drained, host.quarantined) == (BEFORE, False, None)
    steps = [(line["step"], line["way"]) for line in _lines(played, "lifecycle.step")]
    assert steps == [*((step, "there") for step in THERE), *((step, "back") for step in BACK)]
    [baseline], [restored] = _lines(played, "host.baseline"), _lines(played, "host.restored")
    assert baseline["driver"] == BEFORE["driver"]
    assert restored["differences"] == []
    types = played.types
    assert types.index("host.baseline") < types.index("lease.active") < types.index("host.restored")
    assert types[-1] == "run.finished"
    assert verify_chain(read_lines(played.run / "ledger.jsonl")[0]) == []
    kept = json.loads((played.run / "hosts/localhost/baseline.json").read_text())
    assert kept["facts"]["localhost"]["values"] == BEFORE


def test_a_step_that_fails_before_the_method_keeps_it_from_being_played_and_the_host_out_of_service(
    host: Host, tmp_path: Path
) -> None:
    host.lets("breaks-pin")
    host.lets("fail-pin-other")  # for another host: no matter here
    played = play(tmp_path, around([python("break it", "break_it")]))

    assert host.steps == ["drain", "snapshot", "pin", "rollback", "verify"]
    assert (host.facts, host.drained, host.quarantined) == (BEFORE, True, None)
    assert played.status == 1
    verdict, reason = played.verdict
    assert (verdict, played.journal["status"], played.journal["run"]) == ("inconclusive", "interrupted", [])
    assert reason.startswith("the method was not played, since pin did not go well on localhost: localhost: pin.yml")
    assert "it broke halfway" in reason
    assert reason.endswith(f"localhost stays out of service until `chaosgpu recover --give-back {played.run.name}`")
    assert "lease.active" not in [line["type"] for line in played.ledger if line.get("fault") != "package.install"]
    assert "localhost is restored and was kept out of service (pin failed" in played.said

    assert recover(tmp_path).returncode == 0
    assert host.drained  # nobody has asked for it by name
    given = recover(tmp_path, "--give-back", played.run.name)
    assert given.returncode == 0, given.stdout + given.stderr
    assert (host.drained, host.steps[-1]) == (False, "return")


def test_a_drain_that_fails_gives_the_host_back_and_the_method_is_not_played(host: Host, tmp_path: Path) -> None:
    host.lets("fail-drain", "foreign jobs run")
    played = play(tmp_path, around([python("break it", "break_it")], plan_with(packages=None)))
    assert host.steps == ["drain", "return"]
    assert (host.quarantined, played.verdict[0], played.broken) == (None, "inconclusive", False)
    assert "drain did not go well on localhost" in played.verdict[1]
    assert "foreign jobs run" in played.verdict[1]


def test_a_pin_that_the_host_has_ended_meanwhile_makes_the_run_inconclusive(host: Host, tmp_path: Path) -> None:
    ending = python("its time is over", "end_pin")
    played = play(tmp_path, around([python("break it", "break_it"), ending], plan_with(steps=["snapshot", "pin"])))
    assert played.verdict[0] == "inconclusive"
    said = "the pin of localhost was not in force to the end: its lease is clean, within_s was over"
    assert said in played.verdict[1]
    assert host.facts == BEFORE


@pytest.mark.parametrize("what", ["fail-rollback", "fail-verify", "lies-rollback"])
def test_a_host_that_does_not_come_back_goes_into_quarantine_and_the_run_is_unsafe(
    host: Host, tmp_path: Path, what: str
) -> None:
    plan = plan_with(steps=["drain", "snapshot", "pin"])
    host.lets(what, "the disk is full")
    played = play(tmp_path, around([python("break it", "break_it")], plan))

    assert (played.status, played.verdict[0]) == (1, "unsafe"), played.said
    assert played.verdict[1].startswith("localhost was not restored (")
    assert "it is in quarantine" in played.verdict[1]
    assert host.drained
    assert "return" not in host.steps
    [quarantined] = _lines(played, "host.quarantined")
    assert quarantined["reason"] == host.quarantined
    if what == "lies-rollback":  # the playbook says that all is well: only the comparison knows better
        assert host.quarantined == "driver.package was 570.172.08-1 and is 580.95.05-1"
        [differs] = _lines(played, "host.differs")
        assert differs["differences"] == [{"key": "driver.package", "before": "570.172.08-1", "after": "580.95.05-1"}]
    else:
        assert "the disk is full" in str(host.quarantined)


def test_a_host_that_can_neither_come_back_nor_be_put_into_quarantine_is_said_to_be_loose(
    host: Host, tmp_path: Path
) -> None:
    plan = plan_with(packages=None)
    host.lets("fail-return", "no route to host")
    host.lets("fail-quarantine", "no route to host")
    played = play(tmp_path, around([python("break it", "break_it")], plan))
    assert played.verdict[0] == "unsafe"
    assert "it could not be put into quarantine: quarantine.yml failed on localhost" in played.verdict[1]
    assert played.types[-2:] == ["host.unfinished", "run.finished"]


def test_a_deviation_and_a_broken_tolerance_bring_the_hosts_back_all_the_same(host: Host, tmp_path: Path) -> None:
    plan = plan_with(packages=None)
    probe = {**python("it holds", "holds", kind="probe", until_broken=True), "tolerance": True}
    hypothesis = {"title": "it holds", "probes": [probe]}
    played = play(tmp_path, around([python("break it", "break_it")], plan, **{"steady-state-hypothesis": hypothesis}))
    assert (played.verdict[0], host.drained, host.steps) == ("deviated", False, ["drain", "return"])

    fatal = {**python("it breaks", "breaks_the_tolerance", kind="probe"), "tolerance": [1, 2]}
    hypothesis = {"title": "it holds", "probes": [fatal]}
    played = play(tmp_path, around([], plan, **{"steady-state-hypothesis": hypothesis}))
    assert (played.status, played.verdict[0], host.drained) == (1, "inconclusive", False)


def test_a_host_on_which_a_fault_is_stuck_is_not_given_back(host: Host, tmp_path: Path) -> None:
    plan = plan_with(packages=None)
    played = play(tmp_path, around([python("break it", "break_it", mode="stuck")], plan))
    assert played.verdict[0] == "unsafe"
    assert (host.drained, host.steps) == (True, ["drain", "quarantine"])
    assert "tiny.flag is stuck there: the flag will not come down" in str(host.quarantined)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"drian": {}}, "chaosgpu_lifecycle has no key 'drian'; did you mean 'drain'?"),
        ({"lock": "gone.yaml", "packages": None}, "The lock file gone.yaml could not be read"),
        ({"hosts": "gpu[0]"}, "cannot be reached without an inventory"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_before_anything_is_touched(
    host: Host, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    plan = {key: value for key, value in plan_with(**changes).items() if value is not None}
    played = play(tmp_path, around([python("break it", "break_it")], plan))
    assert host.steps == []
    assert played.verdict[0] == "inconclusive"
    assert played.verdict[1].startswith("refused: ")
    assert sentence in played.verdict[1]
    assert not played.broken


def test_a_plan_without_its_control_and_a_control_without_a_plan_or_a_guard_play_nothing(
    host: Host, tmp_path: Path
) -> None:
    method = [python("break it", "break_it")]
    lost = play(tmp_path, around(method, controls=[TINY, GUARD]))
    assert "The configuration has chaosgpu_lifecycle and nothing would play it" in lost.verdict[1]
    misspelt = {"name": "lifecycle", "provider": {"type": "python", "module": "chaosgpu.controls.livecycle"}}
    assert "nothing would play it" in play(tmp_path, around(method, controls=[TINY, misspelt, GUARD])).verdict[1]
    halved = play(tmp_path, around(method, controls=[TINY, GUARD, {**LIFECYCLE, "scope": "after"}]))
    assert "must not have 'scope'" in halved.verdict[1]
    nothing = play(tmp_path, around(method, configuration={}))
    assert "has nothing to play: the configuration has no chaosgpu_lifecycle" in nothing.verdict[1]
    unguarded = play(tmp_path, around([], controls=[TINY, LIFECYCLE]))
    assert unguarded.status == 1
    elsewhere = {"chaosgpu_lifecycle": plan_with(), "chaosgpu_playbooks": str(tmp_path)}
    assert "lacks the playbooks drain.yml" in play(tmp_path, around(method, configuration=elsewhere)).verdict[1]
    dry = play(tmp_path, around(method), "--dry", "actions")
    assert dry.verdict[0] == "none"
    assert (host.steps, (tmp_path / "agent/broken").exists()) == ([], False)


def test_a_control_that_breaks_without_a_word_lets_no_fault_in(host: Host, tmp_path: Path) -> None:
    breaking = {"name": "breaking", "provider": {"type": "python", "module": "support.breaking_lifecycle"}}
    played = play(tmp_path, around([python("break it", "break_it")], controls=[TINY, GUARD, breaking, LIFECYCLE]))
    assert host.steps == []
    assert (played.verdict[0], played.broken) == ("inconclusive", False)
    assert "the lifecycle control has not brought the hosts to where the method begins" in played.said
    assert "tiny.flag" not in [line.get("fault") for line in played.ledger]
