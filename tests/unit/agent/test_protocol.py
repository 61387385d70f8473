# SPDX-License-Identifier: Apache-2.0
"""What comes in is checked, what goes out is one JSON object, and both are as the schemas say."""

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import chaosgpu.agent
from chaosgpu.agent.syslog import operator_of
from chaosgpu.agent.verbs import VERBS
from support.agent_host import FILE, LOCK, AgentHost, wait_until

SCHEMAS = Path(chaosgpu.agent.__file__).parent / "schemas"


def check(verb: str, side: str, document: object) -> None:
    schema = json.loads((SCHEMAS / f"{verb}.json").read_text())
    jsonschema.Draft202012Validator(schema[side]).validate(document)


def asked(host: AgentHost, verb: str, **request: object) -> dict[str, Any]:
    document = {"protocol": 1, **request}
    check(verb, "request", document)
    answer = host.tell(verb, document)
    assert answer.pop("status") == 0
    check(verb, "answer", answer)
    return answer


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_requests_and_answers_are_as_their_schemas_say(host: AgentHost, fault: str) -> None:
    asked(host, "apply", **host.order(fault, inject_at=time.time() + 0.4), operator="ann")
    asked(host, "renew", run="r1", ttl_s=20)
    asked(host, "renew", leases=["l1", "unknown"], ttl_s=20)
    asked(host, "list")
    asked(host, "list", run="r1", verify=True)
    asked(host, "record", lease="l1")
    asked(host, "sweep")
    asked(host, "undo", lease="l1")
    asked(host, "undo", lease="never.came")
    asked(host, "undo", run="r1")
    asked(host, "undo", all=True)
    asked(host, "record", lease="l1")
    asked(host, "halt", by="ann", reason="pager")
    asked(host, "list")
    asked(host, "resume", by="ann", reason="all clear")


def test_a_stuck_and_a_damaged_lease_are_as_the_schemas_say(host: AgentHost) -> None:
    asked(host, "apply", **host.order(breaks="undo:fail"))
    asked(host, "undo", lease="l1")
    asked(host, "sweep")
    asked(host, "apply", **host.order(LOCK, lease="l2"))
    state = host.home / "leases/l2/state"
    state.write_bytes(b"x" * state.stat().st_size)
    for verb in ("list", "sweep"):
        asked(host, verb)
    asked(host, "record", lease="l2")
    asked(host, "undo", all=True)
    wait_until(lambda: not host.holders(), within_s=4)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_a_schema_with_exactly_the_keys_that_it_reads(verb: str) -> None:
    schema = json.loads((SCHEMAS / f"{verb}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema["request"])
    jsonschema.Draft202012Validator.check_schema(schema["answer"])
    assert set(schema["request"]["properties"]) == VERBS[verb][1] | {"protocol", "operator", "change_id", "deadline_s"}
    assert schema["request"]["additionalProperties"] is False


@pytest.mark.parametrize("spoken", [None, 0, 2, "1", True, 1.5])
def test_another_protocol_is_refused(host: AgentHost, spoken: object) -> None:
    answer = host.tell("list", {"protocol": spoken})
    assert answer["error"]["kind"] == "bad_request"
    assert "protocol" in answer["error"]["message"]
    assert host.tell("list", {"protocol": 1})["leases"] == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"protocol": 1}' + b" " * (1 << 20)])
def test_what_is_not_a_request_is_one_clear_error(host: AgentHost, raw: bytes) -> None:
    answer = host.tell("list", raw)
    assert answer["error"]["kind"] == "bad_request"
    assert answer["error"]["host"]


@pytest.mark.parametrize("verb", ["", "aply", "apply now", "--help"])
def test_an_unknown_verb_is_refused_with_the_list(host: AgentHost, verb: str) -> None:
    assert "apply, doctor" in host.tell(verb, {"protocol": 1})["error"]["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"fault": "test.unknown"},
        {"fault": ""},
        {"params": []},
        {"params": {"path": 7}},
        {"params": {"path": "/x", "pth": 1}},
        {"ttl_s": 0},
        {"ttl_s": -1},
        {"ttl_s": "20"},
        {"ttl_s": 61},
        {"max_duration_s": 1e9},
        {"run": ""},
        {"lease": "../../etc"},
        {"lease": ""},
        {"lease": "a/b"},
        {"lease": ".hidden"},
        {"lease": "x" * 101},
        {"inject_at": "noon"},
        {"tll_s": 5},
        {"operator": 7},
    ],
)
def test_a_wrong_order_is_refused_and_leaves_no_trace(host: AgentHost, change: dict[str, object]) -> None:
    answer = host.ask("apply", **{**host.order(), **change})
    assert answer["error"]["kind"] == "bad_request"
    assert not (host.home / "leases").exists()
    assert not host.residue()


def test_inject_at_waits_armed_and_stamps_the_skew(host: AgentHost) -> None:
    at = time.time() + 0.7
    answer = host.apply(inject_at=at)
    assert time.time() >= at
    assert 0 <= answer["inject_skew_s"] < 0.05


@pytest.mark.parametrize(("ahead_s", "words"), [(-0.2, "ago"), (11, "at most 10 s"), (0.0, "after inject_at")])
def test_an_instant_that_cannot_be_kept_is_refused(host: AgentHost, ahead_s: float, words: str) -> None:
    def slow(step: str) -> None:
        if step == "captured":
            time.sleep(0.1)

    answer = host.tell("apply", {"protocol": 1, **host.order(inject_at=time.time() + ahead_s)}, step=slow)
    assert answer["error"]["kind"] == "refused"
    assert words in answer["error"]["message"]
    wait_until(lambda: not host.residue())


def test_every_verb_goes_to_the_system_log_without_its_parameters(host: AgentHost) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(host.folder / "log"))
        log.settimeout(5)
        host.apply(value="a secret", operator="ann\nroot: all is well")
        lines = [log.recv(4096).decode() for _ in range(2)]
    assert "apply asked" in lines[0]
    assert "apply done" in lines[1]
    for line in lines:
        assert line.startswith("<85>chaosgpu-agent[")
        assert "run=r1 lease=l1 fault=test.file.set" in line
        assert "ann?root" in line
        assert "\n" not in line
        assert "secret" not in line


def test_a_dead_log_does_not_keep_a_fault_in_force(host: AgentHost) -> None:
    host.apply()
    (host.folder / "log").write_text("not a socket")
    assert host.undo()["state"] == "clean"


@pytest.mark.parametrize(
    ("environment", "operator"),
    [
        ({"AWX_USER_NAME": "awx", "SUDO_USER": "sudo", "USER": "root"}, "awx"),
        ({"TOWER_USER_NAME": "tower", "SUDO_USER": "sudo"}, "tower"),
        ({"SUDO_USER": "sudo", "USER": "root"}, "sudo"),
        ({"USER": "login"}, "login"),
        ({}, "user 7"),
    ],
)
def test_the_operator_is_the_one_behind_awx_sudo_or_the_login(environment: dict[str, str], operator: str) -> None:
    assert operator_of({}, environment, 7) == operator
    assert operator_of({"operator": "ann"}, environment, 7) == f"ann (here: {operator})"


def test_a_verb_ends_when_nobody_waits_for_it_any_more_and_what_it_began_is_put_back(host: AgentHost) -> None:
    order = {"protocol": 1, **host.order(LOCK, ttl_s=20, max_duration_s=20)}
    far = time.time() + 8  # armed, and waiting for its instant
    began_s = time.monotonic()
    ended = host.finish(host.start("apply", {**order, "inject_at": far, "deadline_s": 2.0}))
    assert ended["status"] == -signal.SIGALRM
    assert 2.0 <= time.monotonic() - began_s < 6.0
    wait_until(lambda: host.state().state == "clean", 20)
    assert host.state().ended_by == "abandoned"
    wait_until(lambda: not host.residue())


@pytest.mark.parametrize("wrong", [0, -1, 1e9, "2", True])
def test_a_deadline_that_is_none_is_refused(host: AgentHost, wrong: object) -> None:
    assert host.ask("list", deadline_s=wrong)["error"]["kind"] == "bad_request"
