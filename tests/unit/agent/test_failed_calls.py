# SPDX-License-Identifier: Apache-2.0
"""A call that fails in one process: the others go on, and nobody is told what is not so."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chaosgpu.agent.errors import StoreFailed
from chaosgpu.agent.watchdog.watch import BACK_OFF_S, watch
from support.agent_host import AgentHost, wait_until


def test_an_undo_that_lacks_room_is_left_to_the_keeper_and_never_told_as_stuck(host: AgentHost, tmp_path: Path) -> None:
    room = tmp_path / "room"
    host.apply(breaks="undo:full", until=str(room))
    line = host.undo()
    assert (line["state"], line["ended_by"]) == ("reverting", "undo")
    assert line["reason"] == "[Errno 28] No space left on device. It is tried again by the host."
    assert host.broken()
    room.touch()
    wait_until(lambda: host.state().state == "clean")
    assert not host.broken()


def test_an_undo_that_fails_for_another_reason_is_stuck_at_once(host: AgentHost, tmp_path: Path) -> None:
    """The control: what the fault itself says is for a person."""
    host.apply(breaks="undo:fail", until=str(tmp_path / "well"))
    assert host.undo()["state"] == "stuck"


def test_a_lease_that_cannot_be_read_keeps_no_other_waiting(host: AgentHost) -> None:
    host.apply()
    unreadable = host.home / "leases" / "a-first"
    (unreadable / "state").mkdir(parents=True)
    listed = {line["lease"]: line for line in host.ask("list")["leases"]}
    assert listed["l1"]["state"] == "active"
    assert listed["a-first"]["state"] == "stuck"
    assert "cannot be read" in listed["a-first"]["reason"]
    ended = {line["lease"]: line["state"] for line in host.ask("halt", by="ann", reason="pager")["leases"]}
    assert ended["l1"] == "clean"
    assert not host.broken()


def test_a_look_that_fails_is_repeated_soon() -> None:
    slept: list[float] = []
    looks: list[StoreFailed | None] = [StoreFailed("EIO"), None]

    def seen() -> None:
        found = looks.pop(0)
        if found is not None:
            raise found

    on: Any = SimpleNamespace(clock=SimpleNamespace(sleep=slept.append))
    folder: Any = SimpleNamespace(seen=seen)
    watch(on, folder, lambda left_s: left_s)
    assert slept == [BACK_OFF_S[0]]
