# SPDX-License-Identifier: Apache-2.0
"""A host that demands an approval judges it itself: who signed, over what, for which hosts, faults and times."""

import datetime as dt
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.approvals import signatures
from chaosgpu.agent.approvals.judge import Asked, judge
from chaosgpu.agent.approvals.signatures import key_of
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import BadRequest, Forbidden, Unanswered
from chaosgpu.agent.policy import Approvals
from chaosgpu.agent.syslog import names_of, operator_of
from chaosgpu.agent.values import JsonObject
from chaosgpu.drill.approval import approvals_of, for_hosts
from chaosgpu.drill.planfile import Written
from support.agent_host import FILE, POLICY, AgentHost
from support.drills import MONDAY, People, World

HOST = "rack1-gpu3"


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture
def world(tmp_path: Path, people: People) -> World:
    folder = tmp_path / "site"
    folder.mkdir()
    return World(folder, people)


def _plan(world: World, *by: str, **changes: Any) -> Written:
    hosts = {"names": [HOST, "rack1-gpu4"], "inventory": ["hosts.yml"]}
    return world.plan(*by, **{"hosts": hosts, "faults": [FILE], "longest_fault_s": 60, **changes})


def _approval(world: World, written: Written) -> JsonObject:
    """Return what a controller hands over."""
    good, _ = approvals_of(written, world.people.allowed_signers, (), MONDAY)
    return for_hosts(written, good)


def _asked(**changes: Any) -> Asked:
    return replace(Asked(FILE, 60.0, (HOST,), ("alice", "root"), MONDAY.timestamp()), **changes)


def _judged(
    world: World, approval: JsonObject, needed: int = 1, signers: bytes | None = None, **changes: Any
) -> JsonObject:
    known = world.people.allowed_signers.read_bytes() if signers is None else signers
    return judge(Approvals(known, needed), _asked(**changes), approval, key_of)


def test_what_was_approved_is_permitted_and_the_record_says_by_whom(world: World) -> None:
    written = _plan(world, "bob@lab")
    found = _judged(world, _approval(world, written))
    key = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(world.people.folder / "bob@lab.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert found == {
        "drill": "leak",
        "plan_sha256": written.sha256,
        "approved_by": [{"by": "bob@lab", "key": key}],
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"host_names": ("rack9-gpu1",)}, "it is for rack1-gpu3, rack1-gpu4, and this host is rack9-gpu1"),
        ({"fault": "gpu.burn"}, "it is for test.file.set, and gpu.burn was asked for"),
        ({"max_duration_s": 60.1}, "it is for 60 s at most, and 60.1 s were asked for"),
        ({"wall_s": MONDAY.timestamp() - 0.001}, "it counts from 2026-11-30T08:00:00.000Z"),
        ({"wall_s": dt.datetime(2027, 2, 28, 23, 0, tzinfo=dt.UTC).timestamp()}, "to 2027-02-28T23:00:00.000Z, and"),
        ({"askers": ("bob", "root")}, "bob@lab is the operator, and nobody approves what is his own"),
        ({"askers": ("alice", "Bob@elsewhere")}, "bob@lab is the operator"),
    ],
)
def test_what_was_not_approved_is_refused(world: World, changes: dict[str, Any], sentence: str) -> None:
    approval = _approval(world, _plan(world, "bob@lab"))
    _judged(world, approval)
    with pytest.raises(Forbidden, match=r"Nothing was touched|demands 1 approvals") as refused:
        _judged(world, approval, **changes)
    assert sentence in str(refused.value)


def test_nothing_stands_for_an_approval(world: World) -> None:
    with pytest.raises(Forbidden, match=r"none came with the fault: run it as a drill"):
        _judged(world, {})
    approval = _approval(world, _plan(world, "bob@lab"))
    with pytest.raises(Forbidden, match="has 0 that count here"):
        _judged(world, {**approval, "signatures": []})


def _said(approval: JsonObject, **changes: Any) -> JsonObject:
    """Change what the statement says, as a controller could that has the signature."""
    said = {**json.loads(str(approval["statement"])), **changes}
    line = json.dumps(
        {key: value for key, value in said.items() if value is not ...}, sort_keys=True, separators=(",", ":")
    )
    return {**approval, "statement": line + "\n"}


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts": ["rack9-gpu1"]},
        {"faults": ["gpu.burn"]},
        {"longest_fault_s": 3600},
        {"not_after": "2099-01-01T00:00:00.000Z"},
        {"operator": "eve@lab"},
        {"change_id": "CHG-9"},
        {"title": "Another"},
    ],
)
def test_a_signature_holds_for_what_was_signed_and_nothing_else(world: World, changes: dict[str, Any]) -> None:
    approval = _said(_approval(world, _plan(world, "bob@lab")))
    _judged(world, approval)  # written anew in the same form, it is the same
    asked = (
        {"fault": "gpu.burn"} if "faults" in changes else {"host_names": ("rack9-gpu1",)} if "hosts" in changes else {}
    )
    with pytest.raises(Forbidden, match="bob@lab has no signature that holds here"):
        _judged(world, _said(approval, **changes), **asked)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "not of version 1"),
        ({"statement": "I was there"}, "not of version 1"),
        ({"only_gpus": ["GPU-1"]}, "has no parameter only_gpus"),
        ({"hosts": HOST}, "hosts must be"),
        ({"not_before": None}, "not_before must be"),
        ({"not_before": "2026-11-30"}, "from when to when"),
        ({"faults": ...}, "not whole"),
    ],
)
def test_a_statement_that_this_host_does_not_know_is_none(world: World, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        _judged(world, _said(_approval(world, _plan(world, "bob@lab")), **changes))


@pytest.mark.parametrize(
    "wrong",
    [
        {"statement": "{"},
        {"statement": "[]"},
        {"signatures": None},
        {"signatures": ["x"]},
        {"signatures": [{"by": "../bob", "signature": "x"}]},
        {"signatures": [{"by": "bob@lab", "signature": "x" * 20000}]},
        {"signatures": [{"by": "bob@lab", "signature": "x"}] * 11},
        {"more": 1},
    ],
)
def test_what_is_no_approval_is_refused_before_anything_is_asked(world: World, wrong: JsonObject) -> None:
    def never(*_: bytes | str) -> tuple[str | None, str]:
        raise AssertionError("it was asked")

    approval = {**_approval(world, _plan(world, "bob@lab")), **wrong}
    with pytest.raises(BadRequest):
        judge(Approvals(b""), _asked(), approval, never)


def _line(people: People, by: str, name: str, options: str = "") -> str:
    return f"{name} {options}{people.public(by)}\n"


@pytest.mark.parametrize(
    ("signers", "sentence"),
    [
        (lambda people: _line(people, "carol@lab", "bob@lab"), "has no signature that holds here"),
        (lambda people: _line(people, "bob@lab", "carol@lab"), "has no signature that holds here"),
        (lambda people: _line(people, "bob@lab", "*@lab"), "is not that of a named person"),
        (lambda people: _line(people, "bob@lab", "bob@lab") + _line(people, "bob@lab", "alice"), "also that of alice"),
        (lambda people: _line(people, "bob@lab", "bob@lab", 'valid-before="20200101" '), "has no signature that holds"),
        (lambda people: _line(people, "bob@lab", "bob@lab", 'namespaces="file" '), "has no signature that holds"),
        (lambda _: "", "has no signature that holds here"),
    ],
)
def test_only_a_named_persons_own_key_counts(world: World, signers: Callable[[People], str], sentence: str) -> None:
    approval = _approval(world, _plan(world, "bob@lab"))
    with pytest.raises(Forbidden) as refused:
        _judged(world, approval, signers=signers(world.people).encode())
    assert sentence in str(refused.value)


def test_two_approvals_are_of_two_people_with_two_keys(world: World) -> None:
    written = _plan(world, "bob@lab", "carol@lab")
    approval = _approval(world, written)
    assert len(_list(_judged(world, approval, needed=2)["approved_by"])) == 2
    bob, carol = _list(approval["signatures"])
    with pytest.raises(Forbidden, match="demands 2 approvals by others than the operator, and leak has 1"):
        _judged(world, {**approval, "signatures": [bob, bob]}, needed=2)
    one_key = _line(world.people, "bob@lab", "bob@lab") + _line(world.people, "bob@lab", "dave@lab")
    with pytest.raises(Forbidden, match="has 1"):
        _judged(world, {**approval, "signatures": [bob, {**bob, "by": "dave@lab"}]}, needed=2, signers=one_key.encode())
    one_person = _line(world.people, "bob@lab", "bob@lab") + _line(world.people, "carol@lab", "bob@home")
    with pytest.raises(Forbidden, match="has 1"):
        _judged(
            world, {**approval, "signatures": [bob, {**carol, "by": "bob@home"}]}, needed=2, signers=one_person.encode()
        )


def _list(value: Any) -> list[dict[str, Any]]:
    assert isinstance(value, list)
    return value


def test_a_signature_for_another_purpose_does_not_count(world: World) -> None:
    approval = _approval(world, _plan(world, "bob@lab"))
    evidence = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", str(world.people.folder / "bob@lab"), "-n", "chaosgpu-evidence-v1"],
        input=str(approval["statement"]).encode(), capture_output=True, check=True, timeout=30,
    ).stdout.decode()  # fmt: skip
    plain = _line(world.people, "bob@lab", "bob@lab").encode()
    _judged(world, approval, signers=plain)
    with pytest.raises(Forbidden, match="has no signature that holds here"):
        _judged(world, {**approval, "signatures": [{"by": "bob@lab", "signature": evidence}]}, signers=plain)


def test_without_ssh_keygen_and_without_its_answer_nothing_is_permitted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = _approval(world, _plan(world, "bob@lab"))
    monkeypatch.setattr(signatures, "_PLACES", (str(tmp_path / "none"),))
    with pytest.raises(Unanswered, match="has no ssh-keygen"):
        _judged(world, approval)
    slow, told = tmp_path / "ssh-keygen", tmp_path / "child"
    slow.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {told}\nwait\n")
    slow.chmod(0o755)
    monkeypatch.setattr(signatures, "_PLACES", (str(slow),))
    monkeypatch.setattr(signatures, "_WITHIN_S", 0.5)
    with pytest.raises(Unanswered, match=r"did not answer within 0\.5 s, and was ended"):
        _judged(world, approval)
    child = Path(f"/proc/{told.read_text().strip()}")
    deadline = time.monotonic() + 5
    while child.exists() and "State:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline, "what it started was left behind"


def test_names_of_who_asks_are_those_told_and_the_login_here() -> None:
    assert names_of(operator_of({"operator": "bob"}, {"USER": "root"}, 0)) == ("bob", "root")
    assert names_of(operator_of({}, {"USER": "root"}, 0)) == ("root",)
    assert names_of(operator_of({"operator": "x (here: y)"}, {"USER": "root"}, 0)) == ("x (here: y)", "root")
    assert names_of(operator_of({"operator": "x" * 500}, {"USER": "root"}, 0))[1] == "root"


class _Monday(SystemClock):
    def wall_s(self) -> float:
        return MONDAY.timestamp()


def _demand(host: AgentHost, world: World, **changes: object) -> None:
    known = {"required": True, "allowed_signers": str(world.people.allowed_signers), "names": [HOST]}
    host.policy({**POLICY, "approvals": {**known, **changes}})


def test_apply_obeys_a_host_that_demands_an_approval_and_its_record_names_it(host: AgentHost, world: World) -> None:
    written = _plan(world, "bob@lab")
    approval = _approval(world, written)
    _demand(host, world)
    order = {"protocol": 1, "operator": "alice", **host.order()}
    without = host.tell("apply", order, clock=_Monday())
    assert without["error"]["kind"] == "forbidden"
    assert "none came with the fault" in without["error"]["message"]
    assert host.ask("list")["leases"] == []
    assert not host.residue()
    _demand(host, world, names=["rack9-gpu1"])
    elsewhere = host.tell("apply", {**order, "approval": approval}, clock=_Monday())
    assert "this host is rack9-gpu1" in elsewhere["error"]["message"]
    assert not host.residue()
    _demand(host, world)
    given = {**order, "approval": approval, "change_id": "CHG-1042"}
    answer = host.tell("apply", given, clock=_Monday())
    assert answer["state"] == "active"
    assert answer["granted"]["plan_sha256"] == written.sha256
    assert answer["granted"]["change_id"] == "CHG-1042"
    assert [one["by"] for one in answer["granted"]["approved_by"]] == ["bob@lab"]
    assert host.ask("record", lease="l1")["state"]["granted"] == answer["granted"]
    assert host.undo()["state"] == "clean"  # nobody needs an approval to put things back


def test_the_same_apply_without_a_demand_is_active(host: AgentHost) -> None:
    """The control of the test above: what it refuses is refused for lack of an approval."""
    assert (
        host.tell("apply", {"protocol": 1, "operator": "alice", **host.order()}, clock=_Monday())["state"] == "active"
    )


def test_a_change_id_that_could_forge_a_line_of_the_log_is_refused(host: AgentHost) -> None:
    for wrong in ("CHG 1", "CHG-1\nundo", "", 7):
        assert host.ask("list", change_id=wrong)["error"]["kind"] == "bad_request"
    assert host.ask("list", change_id="CHG-1042")["status"] == 0
