# SPDX-License-Identifier: Apache-2.0
"""The way back of several hosts, each as far as it comes: what the steps say is scripted, the record is real."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaosgpu.fleet.play import Outcome, Template
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.run import Run
from chaosgpu.lifecycle import back
from chaosgpu.lifecycle.back import come_back
from chaosgpu.lifecycle.course import Course, lives_of
from chaosgpu.lifecycle.plan import Plan
from chaosgpu.lifecycle.step import Stage, packages_variable

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

DRILL = "20261120T155919Z-6ef470"


@dataclass(frozen=True)
class Scripted(Stage):
    """Says of each step on each host what it is told to, in turn; at the end always the last."""

    says: dict[str, list[str]] = field(default_factory=dict)
    played: list[tuple[str, str, str | None]] = field(default_factory=list)

    def told(self, **says: list[str]) -> None:
        self.says.update(says)

    def play(  # noqa: PLR0917 (a stage's)
        self,
        step: str,
        hosts: Sequence[str],
        way: str,
        reason: str | None = None,
        within_s: float | None = None,
        differences: Sequence[str] = (),
    ) -> dict[str, Outcome]:
        del within_s, differences
        if not hosts:
            return {}
        self.course.intend(step, hosts, way)
        found = {}
        for host in hosts:
            script = self.says.get(f"{step}_{host}", ["ok"])
            how = script.pop(0) if len(script) > 1 else script[0]
            found[host] = Outcome(host, how, "" if how == "ok" else f"{step} on {host} is {how}", 1)
            self.played.append((step, host, reason))
        self.course.done(step, way, found)
        return found


@pytest.fixture
def stage(tmp_path: Path) -> Scripted:
    names = Names()
    run = Run(DRILL, tmp_path, Ledger(tmp_path / "ledger.jsonl", DRILL, names.now), names)
    return Scripted(Course(run, DRILL), Plan(), tmp_path)


def _there(stage: Scripted, *hosts: str, steps: Sequence[str] = ("drain", "snapshot", "pin")) -> None:
    for step in steps:
        stage.play(step, hosts, "there")
    stage.played.clear()


def test_each_host_is_brought_as_far_as_it_comes_whatever_happens_on_another(stage: Scripted) -> None:
    stage.told(rollback_b=["failed"], verify_c=["failed"], return_d=["failed"], quarantine_c=["unreachable"])
    _there(stage, "a", "b", "c", "d")
    found = {one.host: one for one in come_back(stage, {}, sleep=lambda _: None)}
    assert {host: one.line for host, one in found.items()} == {
        "a": "host.returned",
        "b": "host.quarantined",
        "c": "host.unfinished",
        "d": "host.quarantined",
    }
    assert {host: one.restored for host, one in found.items()} == {"a": True, "b": False, "c": False, "d": False}
    where = "it could not be put into quarantine: quarantine on c is unreachable"
    assert found["c"].sentence == f"c was not restored (verify on c is failed); {where}"
    returned = [host for step, host, _ in stage.played if step == "return"]
    assert returned == ["a", "d"]
    assert [host for host, life in stage.course.lives.items() if not life.settled] == ["c"]


def test_a_host_that_boots_is_asked_again_and_no_other_is_played_twice(stage: Scripted) -> None:
    stage.told(rollback_a=["unreachable", "unreachable", "ok"])
    _there(stage, "a", "b")
    slept: list[float] = []
    found = come_back(stage, {}, sleep=slept.append)
    assert [one.line for one in found] == ["host.returned", "host.returned"]
    assert slept == [*back.PAUSES_S[:2]]
    rolled = [host for step, host, _ in stage.played if step == "rollback"]
    assert rolled == ["a", "b", "a", "a"]


def test_a_host_that_never_comes_back_is_given_up_after_a_while(stage: Scripted) -> None:
    stage.told(rollback_a=["unreachable"], quarantine_a=["unreachable"])
    _there(stage, "a")
    slept: list[float] = []
    [found] = come_back(stage, {}, sleep=slept.append)
    assert (found.line, slept) == ("host.unfinished", [*back.PAUSES_S])


def test_a_host_on_which_something_is_in_force_is_never_given_back(stage: Scripted) -> None:
    _there(stage, "a", "b", steps=["drain"])
    found = {one.host: one for one in come_back(stage, {"a": "a fault is stuck there"}, sleep=lambda _: None)}
    assert (found["a"].line, found["b"].line) == ("host.quarantined", "host.returned")
    assert ("quarantine", "a", "a fault is stuck there") in stage.played


def test_a_second_way_back_does_nothing_and_what_is_read_back_is_what_was_written(stage: Scripted) -> None:
    stage.told(verify_b=["failed"])
    _there(stage, "a", "b")
    come_back(stage, {}, sleep=lambda _: None)
    played = len(stage.played)
    assert come_back(stage, {}, sleep=lambda _: None) == []
    assert len(stage.played) == played
    assert lives_of(stage.course.run.ledger.entries(), DRILL) == stage.course.lives
    assert lives_of(stage.course.run.ledger.entries(), "another") == {}


def test_a_snapshot_that_failed_has_changed_nothing_that_would_have_to_be_rolled_back(stage: Scripted) -> None:
    stage.told(snapshot_a=["failed"])
    _there(stage, "a", steps=["drain", "snapshot"])
    [found] = come_back(stage, {}, sleep=lambda _: None)
    assert found.line == "host.cordoned"
    assert [step for step, _, _ in stage.played] == []
    [given] = come_back(stage, {}, give_back=True, sleep=lambda _: None)
    assert given.line == "host.returned"


def test_hosts_of_different_packages_find_their_own_and_alike_ones_have_them_in_common() -> None:
    one: JsonObject = {"nvidia-open": "580.95.05-1"}
    other: JsonObject = {"nvidia-open": "570.172.08-1"}
    assert packages_variable({"a": one, "b": dict(one)}) == {"chaosgpu_packages": one}
    found = packages_variable({"a": one, "b": other})
    assert isinstance(found["chaosgpu_packages"], Template)
    assert found["chaosgpu_packages_of_host"] == {"a": one, "b": other}
    assert packages_variable({}) == {}
