# SPDX-License-Identifier: Apache-2.0
"""The kill switch: it ends everything, and it stays on until a named person says why it may go off."""

import json

import pytest

from support.agent_host import FILE, LOCK, AgentHost, wait_until


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_halt_ends_every_lease_and_latches(host: AgentHost, fault: str) -> None:
    host.apply(fault)
    answer = host.ask("halt", by="ann", reason="pager")
    told = [(line["lease"], line["state"], line["ended_by"]) for line in answer["leases"]]
    assert told in ([("l1", "clean", "halt")], [])  # its keeper sees the latch too, and may have been first
    state = host.ask("record", lease="l1")["state"]
    assert (state["state"], state["ended_by"]) == ("clean", "halt")
    wait_until(lambda: not host.residue())
    refused = host.apply(lease="l2")["error"]
    assert refused["kind"] == "halted"
    assert "ann" in refused["message"]
    assert "pager" in refused["message"]
    assert host.ask("list")["halted"]["by"] == "ann"


def test_resume_needs_a_name_and_a_reason_and_both_are_kept(host: AgentHost) -> None:
    host.ask("halt", by="ann", reason="pager")
    assert host.ask("resume", by="bob")["error"]["kind"] == "bad_request"
    assert host.apply()["error"]["kind"] == "halted"
    assert host.ask("resume", by="bob", reason="all clear")["was"]["by"] == "ann"
    assert host.ask("list")["halted"] is None
    assert host.apply()["state"] == "active"
    history = [json.loads(line) for line in (host.home / "halts.jsonl").read_text().splitlines()]
    assert [(line["verb"], line["by"], line["reason"]) for line in history] == [
        ("halt", "ann", "pager"),
        ("resume", "bob", "all clear"),
    ]


@pytest.mark.parametrize("content", ["", "on fire", "[]", "{}"])
def test_a_file_on_the_host_halts_without_any_command(host: AgentHost, content: str) -> None:
    host.apply()
    (host.folder / "run/HALT").write_text(content)
    wait_until(lambda: host.state().state == "clean", within_s=2)
    assert host.state().ended_by == "halt"
    assert host.apply(lease="l2")["error"]["kind"] == "halted"
    host.ask("resume", by="bob", reason="all clear")
    assert not (host.folder / "run/HALT").exists()


def test_a_switch_that_cannot_be_read_counts_as_on(host: AgentHost) -> None:
    (host.home / "HALT").mkdir()
    assert host.apply()["error"]["kind"] == "halted"
    answer = host.ask("resume", by="bob", reason="all clear")
    assert answer["error"]["kind"] == "store"
    assert "stays halted" in answer["error"]["message"]


def test_halt_again_keeps_the_first_reason(host: AgentHost) -> None:
    host.ask("halt", by="ann", reason="pager")
    assert host.ask("halt", by="bob", reason="me too")["halted"]["by"] == "ann"


def test_a_halt_between_arming_and_injecting_stops_the_fault(host: AgentHost) -> None:
    def halt_when_armed(step: str) -> None:
        if step == "armed":
            (host.home / "HALT").write_text("")

    answer = host.tell("apply", {"protocol": 1, **host.order()}, step=halt_when_armed)
    assert answer["error"]["kind"] == "halted"
    wait_until(lambda: not host.residue())
