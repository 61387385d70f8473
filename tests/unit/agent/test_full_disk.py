# SPDX-License-Identifier: Apache-2.0
"""A disk that takes no more, at each step of an apply and of an undo: refused and put back, or active and undone.

The space of every state and of the undo record is laid out before anything is touched, and an undo needs no more of it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.store import SLOT_BYTES
from support.agent_host import ENTRY, FILE, LOCK, AgentHost, wait_until


def test_where_no_record_can_be_written_nothing_is_touched(host: AgentHost) -> None:
    (host.home / "leases").write_text("in the way")
    assert host.apply()["error"]["kind"] == "store"
    assert not host.residue()


def test_a_write_that_fails_refuses_an_apply_before_anything_is_touched(host: AgentHost) -> None:
    order = json.dumps({"protocol": 1, **host.order()}).encode()
    limit = 20000  # bytes a file: less than the two slots of a state
    child = subprocess.run(
        ["prlimit", f"--fsize={limit}", sys.executable, str(ENTRY), "apply"],
        input=order,
        capture_output=True,
        env=host.environment,
        check=False,
        timeout=20,
    )
    answer = json.loads(child.stdout)
    assert answer["error"]["kind"] == "store"
    assert "File too large" in answer["error"]["message"]
    assert not host.residue()


def test_all_states_are_written_into_space_that_was_laid_out_first(host: AgentHost) -> None:
    state = host.home / "leases/l1/state"
    host.apply()
    before = state.stat()
    host.undo()
    after = state.stat()
    assert (before.st_ino, before.st_size, before.st_blocks) == (after.st_ino, after.st_size, after.st_blocks)
    assert before.st_blocks * 512 >= 2 * SLOT_BYTES


if os.getuid() == 0:  # only root may mount; the two tests above prove the same of any user's machine
    APPLY = {
        FILE: ("reserved", "claimed", "captured", "undo written", "deadline armed", "armed", "injected", "verified"),
        LOCK: ("captured", "let go", "active"),  # without a first report an apply waits for 5 s
    }
    UNDO = ("reverting", "claims held", "holder ended", "undone", "clean")

    @pytest.fixture
    def disk(tmp_path: Path) -> Iterator[AgentHost]:
        """Give the test a host whose home, claims and file are on a file system of 256 KiB and 64 files."""
        path = tmp_path / "disk"
        path.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", str(path)], check=True, timeout=10
        )
        host = AgentHost(path)
        yield host
        host.close()
        subprocess.run(["umount", "-l", str(path)], check=True, timeout=10)

    def fill(host: AgentHost) -> None:
        """Take every block that is left, again where some have come free."""
        descriptor = os.open(host.folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(descriptor, b"x" * 4096)
        except OSError:
            os.close(descriptor)

    def take_every_name(host: AgentHost) -> None:
        number = 0
        try:
            while True:
                (host.folder / f"name {number}").touch()
                number += 1
        except OSError:
            return

    def clear(host: AgentHost) -> None:
        """Make room for the next lease."""
        (host.folder / "filler").unlink()
        wait_until(lambda: not host.keepers())
        shutil.rmtree(host.home / "leases")

    def full_at(host: AgentHost, step: str) -> Callable[[str], None]:
        def at(name: str) -> None:
            if name == step:
                fill(host)

        return at

    def undone(host: AgentHost) -> None:
        wait_until(lambda: not host.residue())
        assert host.state().state == "clean"

    def test_a_full_disk_refuses_an_apply_before_anything_is_touched(disk: AgentHost) -> None:
        fill(disk)
        answer = disk.apply()
        assert answer["error"]["kind"] == "store"
        assert "No space left" in answer["error"]["message"]
        assert not disk.residue()

    @pytest.mark.parametrize("fault", [FILE, LOCK])
    def test_a_disk_that_fills_up_at_any_step_of_an_apply_refuses_it_or_lets_it_be_undone(
        disk: AgentHost, fault: str
    ) -> None:
        ended: dict[str, str] = {}
        for number, step in enumerate(APPLY[fault]):
            lease = f"l{number}"
            order = {"protocol": 1, **disk.order(fault, lease)}
            answer = disk.tell("apply", order, step=full_at(disk, step))
            assert (disk.folder / "filler").exists(), f"there was no step {step}"
            if "error" in answer:
                ended[step] = "refused"
                assert answer["error"]["kind"] in ("store", "short", "refused", "unverified"), answer
                assert "broke:" not in answer["error"]["message"]
            else:
                ended[step] = "active"
                assert disk.broken()
                [line] = disk.ask("renew", leases=[lease], ttl_s=20)["leases"]
                assert line["reason"] is None  # renewed on the full disk
                assert disk.undo(lease)["state"] == "clean"
            wait_until(lambda: not disk.residue())
            clear(disk)
        assert ended[APPLY[fault][-1]] == "active"
        assert "refused" in ended.values()

    @pytest.mark.parametrize("fault", [FILE, LOCK])
    def test_a_disk_that_fills_up_at_any_step_of_an_undo_keeps_none_from_its_end(disk: AgentHost, fault: str) -> None:
        for number, step in enumerate(UNDO):
            lease = f"l{number}"
            disk.apply(fault, lease)
            [line] = disk.tell("undo", {"protocol": 1, "lease": lease}, step=full_at(disk, step))["leases"]
            assert (disk.folder / "filler").exists(), f"there was no step {step}"
            assert line["state"] == "clean"
            wait_until(lambda: not disk.residue())
            clear(disk)

    @pytest.mark.parametrize("fault", [FILE, LOCK])
    def test_a_disk_that_is_full_at_the_deadline_takes_no_undo_away(disk: AgentHost, fault: str) -> None:
        disk.apply(fault, ttl_s=0.6)
        fill(disk)
        undone(disk)

    @pytest.mark.parametrize("who", ["sweep", "list", "halt"])
    def test_a_full_disk_keeps_nobody_else_from_undoing(disk: AgentHost, who: str) -> None:
        asked: dict[str, Any] = {"by": "ann", "reason": "pager"} if who == "halt" else {}
        disk.apply()
        for keeper in disk.keepers():
            disk.kill(keeper)
        (disk.folder / "run").mkdir(exist_ok=True)
        (disk.folder / "run/HALT").touch()
        fill(disk)
        disk.ask(who, **asked)
        undone(disk)

    def test_a_halt_that_cannot_be_latched_ends_what_is_in_force_all_the_same(disk: AgentHost) -> None:
        disk.apply()
        take_every_name(disk)
        answer = disk.ask("halt", by="ann", reason="pager")
        assert answer["error"]["kind"] == "store"
        assert "What is in force is undone, and the host is not halted." in answer["error"]["message"]
        undone(disk)
