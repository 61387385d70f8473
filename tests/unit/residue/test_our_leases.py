# SPDX-License-Identifier: Apache-2.0
"""What the real agent leaves when it and its keeper are killed is found; what a live lease holds is no residue."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.clock import SystemClock
from support.agent_host import FILE, LOCK, AgentHost, wait_until


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentHost]:
    one = AgentHost(tmp_path)
    yield one
    one.close()


def _read(agent: AgentHost, **parts: Any) -> list[dict[str, Any]]:
    request = {"protocol": 1, "reading": "residue", "params": {"owner": "ours"}}
    answer = agent.tell("read", request, **parts)
    assert answer["unknown"] == {}
    findings: list[dict[str, Any]] = answer["values"]["findings"]
    assert all(finding["by_hand"] for finding in findings)
    return findings


def _kinds(agent: AgentHost) -> set[str]:
    return {finding["kind"] for finding in _read(agent)}


def _end_keeper(agent: AgentHost) -> None:
    for keeper in agent.keepers():
        agent.kill(keeper)


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_a_live_lease_is_no_residue_and_neither_is_one_that_was_undone(agent: AgentHost, fault: str) -> None:
    assert _read(agent) == []
    agent.apply(fault)
    assert _read(agent) == []
    agent.undo()
    assert _read(agent) == []


class At(SystemClock):
    """A clock that stands, so that a busy machine changes nothing."""

    def __init__(self, boottime_s: float) -> None:
        self._boottime_s = boottime_s

    def boottime_s(self) -> float:
        return self._boottime_s


def test_an_active_lease_without_its_keeper_is_found_and_then_that_it_is_over(agent: AgentHost) -> None:
    agent.apply(ttl_s=60)
    _end_keeper(agent)
    assert _kinds(agent) == {"lease.unkept"}
    deadline_s = agent.state().deadline_s
    # The promise is 5 s after the deadline; so long somebody may be at it.
    assert {finding["kind"] for finding in _read(agent, clock=At(deadline_s + 4.9))} == {"lease.unkept"}
    [finding] = _read(agent, clock=At(deadline_s + 5.1))
    assert (finding["kind"], finding["lease"]) == ("lease.expired", "l1")
    assert "run r1" in finding["what"]


@pytest.mark.parametrize("reached", ["reserved", "armed"])
def test_a_lease_whose_apply_was_killed_before_it_was_active_is_found(agent: AgentHost, reached: str) -> None:
    agent.apply()
    _end_keeper(agent)  # first, or it would end what its apply has not finished
    agent.lease_folder().save(replace(agent.state(), state=reached))
    assert _kinds(agent) == {"lease.abandoned"}


def test_a_damaged_record_is_found_as_stuck(agent: AgentHost) -> None:
    agent.apply()
    path = agent.home / "leases" / "l1" / "undo"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(bytes(raw))
    assert _kinds(agent) == {"lease.stuck"}


def test_a_lease_of_an_earlier_start_of_the_host_is_found(agent: AgentHost) -> None:
    agent.apply()
    _end_keeper(agent)
    folder, state = agent.lease_folder(), agent.state()
    folder.save(replace(state, boot=replace(state.boot, init_start=state.boot.init_start + 1)))
    assert _kinds(agent) == {"lease.earlier_start"}


def test_what_a_killed_agent_left_half_made_is_found(agent: AgentHost) -> None:
    agent.apply()
    claim = agent.claims()[0]
    kept = claim.read_text()
    agent.undo()
    wait_until(lambda: agent.keepers() == [])  # it tidies up once more as it goes
    (agent.home / "leases" / "l1" / "state.new").write_text("half")
    claim.write_text(kept)
    half = agent.home / "leases" / "l2"
    half.mkdir()
    os.utime(half, (1, 1))
    nobodys = agent.folder / "chaosgpu-claim-1.json"
    nobodys.write_text(json.dumps({"claim": "file:x", "lease": "l3", "home": str(agent.home)}))
    nobodys.with_suffix(".json.new").write_text(nobodys.read_text())
    assert _kinds(agent) == {
        "claim.ended",
        "claim.half_written",
        "claim.without_lease",
        "lease.half_made",
        "lease.half_written",
    }


def test_a_lease_folder_that_is_being_made_is_no_residue(agent: AgentHost) -> None:
    (agent.home / "leases" / "l2").mkdir(parents=True)
    assert _read(agent) == []


@contextmanager
def _process(agent: AgentHost, *words: str, **environment: str) -> Iterator[None]:
    script = "import time; print('up', flush=True); time.sleep(60)"
    variables = {**agent.environment, **environment}
    command = [sys.executable, "-c", script, *words]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        yield
        child.kill()


@pytest.mark.parametrize(
    ("kind", "words", "environment"),
    [
        ("process.keeper", ["keep", "{folder}"], {}),
        ("process.reverter", ["due", "{folder}"], {}),
        ("process.holder", ["hold", "{folder}"], {"CHAOSGPU_LEASE": "{folder}"}),
        ("process.tagged", [], {"CHAOSGPU_LEASE": "{folder}"}),
        ("process.shim", [], {"LD_PRELOAD": "/usr/lib/chaosgpu-shim.so"}),
    ],
)
def test_a_process_of_ours_is_found_once_its_lease_has_ended(
    agent: AgentHost, kind: str, words: list[str], environment: dict[str, str]
) -> None:
    folder = agent.home / "leases" / "l1"
    agent.apply()
    words = [word.format(folder=folder) for word in words]
    variables = {name: text.format(folder=folder) for name, text in environment.items()}
    if kind != "process.shim":
        with _process(agent, *words, **variables):
            assert _read(agent) == []
    agent.undo()
    with _process(agent, *words, **variables):
        assert _kinds(agent) == {kind}
    assert _read(agent) == []


def test_a_switch_that_is_on_is_shown_and_is_nobodys_mistake(agent: AgentHost) -> None:
    agent.ask("halt", by="ann", reason="pager")
    [finding] = _read(agent)
    assert (finding["kind"], finding["owner"]) == ("halt.latched", "unknown")
    assert "pager" in finding["what"]
    agent.ask("resume", by="ann", reason="all clear")
    assert _read(agent) == []


def test_another_state_roots_leases_are_not_this_ones_affair(agent: AgentHost, tmp_path: Path) -> None:
    other = AgentHost(tmp_path, "other")
    other.apply()
    _end_keeper(other)
    assert _kinds(other) == {"lease.unkept"}
    assert _read(agent) == []
    other.undo()
    other.close()
