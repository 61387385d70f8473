# SPDX-License-Identifier: Apache-2.0
"""A call that fails in one process: the others go on, and nobody is told what is not so."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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


def looked(*fails: Exception) -> list[float]:
    """Watch with looks that fail and one that sees nothing left; return how long it slept between them."""
    slept: list[float] = []
    looks: list[Exception | None] = [*fails, None]

    def seen() -> None:
        found = looks.pop(0)
        if found is not None:
            raise found

    on: Any = SimpleNamespace(clock=SimpleNamespace(sleep=slept.append))
    folder: Any = SimpleNamespace(seen=seen)
    watch(on, folder, lambda left_s: left_s)
    return slept


def test_a_look_that_fails_is_repeated_soon(capsys: pytest.CaptureFixture[str]) -> None:
    assert looked(StoreFailed("EIO"), OSError("no memory")) == [BACK_OFF_S[0], BACK_OFF_S[0]]
    assert capsys.readouterr().err == "store: EIO\ninternal: A look at the lease broke: OSError: no memory.\n"


@pytest.mark.parametrize(("word", "goes_on"), [("say('word')", True), ("sys.stderr.write('word\\n')", False)])
def test_a_log_that_takes_no_more_ends_no_keeper(word: str, goes_on: bool) -> None:
    code = f"import sys\nfrom chaosgpu.agent.say import say\n{word}\nprint('goes on')"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, check=False, timeout=60
        )
    assert (done.stdout == b"goes on\n") is goes_on
