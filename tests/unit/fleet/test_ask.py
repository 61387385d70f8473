# SPDX-License-Identifier: Apache-2.0
"""One request to an agent, and everything that may come back instead of an answer."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaosgpu.errors import AgentFailed, BadArgument, ChaosGpuError, FaultUnverified, Refused, Unreachable
from chaosgpu.fleet.ask import ask, use_transport
from chaosgpu.fleet.transports.local import LocalTransport
from chaosgpu.fleet.transports.memory import MemoryTransport


@contextmanager
def _agent(program: str) -> Iterator[None]:
    """Let the agent be a small Python program that gets the verb as its argument."""
    with use_transport(LocalTransport([sys.executable, "-c", program])):
        yield


def test_a_request_goes_in_as_one_document_and_the_answer_comes_back() -> None:
    program = (
        "import json, sys; r = json.load(sys.stdin); print(json.dumps({'protocol': 1, 'verb': sys.argv[1], 'r': r}))"
    )
    with _agent(program):
        answer = ask("localhost", "list", {"run": "run-1"}, 5)

    assert answer["verb"] == "list"
    request = answer["r"]
    assert isinstance(request, dict)
    assert request["protocol"] == 1
    assert request["run"] == "run-1"
    assert request["operator"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("bad_request", BadArgument),
        ("refused", Refused),
        ("no_effect", Refused),
        ("claimed", Refused),
        ("forbidden", Refused),
        ("halted", Refused),
        ("unverified", FaultUnverified),
        ("driver_hung", AgentFailed),
        ("internal", AgentFailed),
    ],
)
def test_each_kind_of_the_agents_errors_becomes_ours(kind: str, error: type[ChaosGpuError]) -> None:
    agent = MemoryTransport(lambda _verb, _request: {"error": {"kind": kind, "message": "it said no."}})
    with use_transport(agent), pytest.raises(error, match=r"localhost: it said no\.") as raised:
        ask("localhost", "apply", {}, 5)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("pass", "no answer to 'list' but nothing"),
        ("print('hello')", "the text 'hello'"),
        ("print('[1]')", "instead of a JSON object"),
        ("import sys; sys.exit('no such module, password=hunter2')", r"it said: no such module, password=\[redacted\]"),
        ("print('{}'); raise SystemExit(3)", "ended 'list' with status 3"),
        ("print('{\"protocol\": 2}')", "speaks protocol 2"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
    ],
    ids=["silent", "text", "list", "stderr", "status", "protocol", "killed"],
)
def test_what_is_no_answer_is_told_in_a_sentence(program: str, sentence: str) -> None:
    with _agent(program), pytest.raises(Unreachable, match=sentence):
        ask("localhost", "list", {}, 5)


def test_at_the_deadline_the_agent_and_what_it_started_are_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('working', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    started = time.monotonic()
    with _agent(program), pytest.raises(Unreachable, match=r"did not answer 'apply' within 0\.6 s and was ended"):
        ask("localhost", "apply", {}, 0.6)

    assert time.monotonic() - started < 5
    for pid in pids.read_text().split():
        while not _gone(int(pid)):
            assert time.monotonic() - started < 5
            time.sleep(0.01)


def test_a_keeper_in_a_session_of_its_own_outlives_the_deadline(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import subprocess, sys, time\n"
        "keeper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'], start_new_session=True,\n"
        "    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"open({str(pid_file)!r}, 'w').write(str(keeper.pid))\n"
        "time.sleep(60)\n"
    )
    with _agent(program), pytest.raises(Unreachable):
        ask("localhost", "apply", {}, 0.6)

    keeper = int(pid_file.read_text())
    assert not _gone(keeper)
    os.kill(keeper, 9)


def test_an_agent_that_is_not_there_is_a_sentence() -> None:
    with use_transport(LocalTransport(["/no/such/agent"])), pytest.raises(Unreachable, match="Is /no/such/agent there"):
        ask("localhost", "list", {}, 5)


@pytest.mark.parametrize("hosts", ["", " ", "gpu_nodes[0]", "all", "*", None, [], 3])
def test_any_host_but_this_one_is_refused_and_an_empty_selection_is_never_all(hosts: str) -> None:
    agent = MemoryTransport(lambda _verb, _request: {})
    with use_transport(agent), pytest.raises(BadArgument, match="hosts"):
        ask(hosts, "list", {}, 5)
    assert agent.asked == []


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "5", True, None])
def test_a_deadline_that_is_none_is_refused(timeout_s: float) -> None:
    with use_transport(MemoryTransport(lambda _verb, _request: {})), pytest.raises(BadArgument, match="timeout_s"):
        ask("localhost", "list", {}, timeout_s)


def test_the_in_memory_agent_hands_over_real_json() -> None:
    agent = MemoryTransport(lambda verb, request: {"verb": verb, "got": request["x"]})
    with use_transport(agent):
        assert ask("local", "read", {"x": [1, {"y": None}]}, 5) == {"verb": "read", "got": [1, {"y": None}]}
    assert json.dumps(agent.asked)


def _gone(pid: int) -> bool:
    """Tell whether a process has ended; one that waits to be reaped has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_host_is_told_the_change_and_when_nobody_waits_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = MemoryTransport(lambda _, __: {"leases": []})
    with use_transport(transport):
        ask("localhost", "list", {}, 5)
        monkeypatch.setenv("CHAOSGPU_CHANGE_TICKET", "CHG-7")
        ask("localhost", "undo", {"run": "run-1"}, 5)
        monkeypatch.setenv("CHAOSGPU_CHANGE_TICKET", "no name")
        ask("localhost", "undo", {"run": "run-1"}, 5)
    (_, listed), (_, undone), (_, unnamed) = transport.asked
    assert (listed["deadline_s"], "change_id" in listed) == (7.0, False)
    assert (undone["change_id"], "deadline_s" in undone) == ("CHG-7", False)  # a way back is never ended halfway
    assert "change_id" not in unnamed  # and waits for no one to mend a variable
