# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu agent` and `chaosgpu doctor` against an agent in memory: requests, what is printed, exit codes."""

import json
from collections.abc import Iterator

import pytest

from chaosgpu.cli.main import main
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports.memory import MemoryTransport
from chaosgpu.fleet.values import JsonObject


class _Agent:
    """Answers what the test says and keeps the requests."""

    def __init__(self) -> None:
        self.says: JsonObject = {"leases": []}
        self.transport = MemoryTransport(lambda _verb, _request: self.says)

    def last(self) -> tuple[str, JsonObject]:
        verb, request = self.transport.asked[-1]
        return verb, {key: value for key, value in request.items() if key not in ("protocol", "operator", "deadline_s")}


@pytest.fixture
def agent() -> Iterator[_Agent]:
    found = _Agent()
    with use_transport(found.transport):
        yield found


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["list"], {}),
        (["list", "--run", "run-1", "--verify"], {"run": "run-1", "verify": True}),
        (["undo", "--all"], {"all": True}),
        (["undo", "--lease", "lease-1"], {"lease": "lease-1"}),
        (["record", "--lease", "lease-1"], {"lease": "lease-1"}),
        (["read", "--json", '{"reading": "gpu.count", "params": {}}'], {"reading": "gpu.count", "params": {}}),
        (["halt", "--reason", "night", "--json", '{"by": "me"}'], {"by": "me", "reason": "night"}),
    ],
)
def test_words_become_a_request_and_the_answer_is_printed(
    agent: _Agent, capsys: pytest.CaptureFixture[str], words: list[str], request_: JsonObject
) -> None:
    assert main(["agent", *words]) == 0
    assert agent.last() == (words[0], request_)
    assert json.loads(capsys.readouterr().out) == {"leases": []}


def test_halt_and_resume_name_who_asks(agent: _Agent) -> None:
    assert main(["agent", "resume", "--reason", "settled"]) == 0
    assert agent.last()[1]["by"]


@pytest.mark.parametrize("words", [["halt"], ["resume"], ["list", "--json", "[]"], ["list", "--json", "{"]])
def test_a_wrong_request_is_one_sentence_and_is_not_sent(
    agent: _Agent, caplog: pytest.LogCaptureFixture, words: list[str]
) -> None:
    assert main(["agent", *words]) == 2
    assert agent.transport.asked == []
    assert len(caplog.messages) == 1


def test_an_error_and_a_stuck_lease_have_their_exit_codes(agent: _Agent) -> None:
    agent.says = {"error": {"kind": "refused", "message": "no."}}
    assert main(["agent", "undo", "--all"]) == 1
    agent.says = {"leases": [{"lease": "lease-1", "state": "stuck"}]}
    assert main(["agent", "undo", "--all"]) == 5


def test_doctor_prints_each_check_and_fails_only_on_what_fails(
    agent: _Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    good: list[JsonObject] = [
        {"name": "policy", "ok": True, "detail": "it permits gpu.*"},
        {"name": "fabric [x]", "ok": None, "detail": "nobody can say"},
    ]
    agent.says = {"checks": [*good]}
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert [word for word in ("policy", "ok", "fabric [x]", "unknown", "nobody can say") if word not in said] == []

    agent.says = {"checks": [*good, {"name": "driver", "ok": False, "detail": "it is not loaded"}]}
    assert main(["doctor"]) == 1
    assert "FAILS" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == agent.says
