# SPDX-License-Identifier: Apache-2.0
"""Records that are not as written: never executed, always stuck, always shown."""

from pathlib import Path

import pytest

from chaosgpu.agent.errors import StoreFailed
from chaosgpu.agent.store import SLOT_BYTES, Damaged, Slots, read_document, write_document
from chaosgpu.agent.values import JsonObject
from support.agent_host import FILE, LOCK, AgentHost, wait_until

BODY: JsonObject = {"lease": "l1", "prior": {"watts": 400, "name": "ü"}, "list": [1, 2.5, None, True]}


def test_every_byte_of_a_document_is_under_its_checksum(tmp_path: Path) -> None:
    write_document(str(tmp_path), "undo", BODY)
    path = tmp_path / "undo"
    raw = path.read_bytes()
    for position in range(len(raw)):
        for flip in (0x01, 0x20, 0x80):
            path.write_bytes(raw[:position] + bytes([raw[position] ^ flip]) + raw[position + 1 :])
            with pytest.raises(Damaged):
                read_document(str(tmp_path), "undo")
    for cut in range(len(raw)):
        path.write_bytes(raw[:cut])
        with pytest.raises(Damaged):
            read_document(str(tmp_path), "undo")
    path.write_bytes(raw + b"\n")
    with pytest.raises(Damaged):
        read_document(str(tmp_path), "undo")
    path.write_bytes(raw)
    assert read_document(str(tmp_path), "undo") == BODY


def test_a_torn_write_of_a_slot_leaves_the_state_before_it(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path), "state")
    slots.create({"state": "reserved"})
    slots.write({"state": "armed"})
    before = (tmp_path / "state").read_bytes()
    slots.write({"state": "active", "more": "x" * 300})
    after = (tmp_path / "state").read_bytes()
    torn = [position for position in range(len(after)) if after[position] != before[position]]
    for cut in range(torn[0] + 1, torn[-1]):
        (tmp_path / "state").write_bytes(after[:cut] + before[cut:])
        assert slots.read() == (2, {"state": "armed"})
    (tmp_path / "state").write_bytes(after)
    assert slots.read() == (3, {"state": "active", "more": "x" * 300})


def test_a_slot_that_was_torn_is_written_over_next(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path), "state")
    slots.create({"n": 1})
    slots.write({"n": 2})
    raw = bytearray((tmp_path / "state").read_bytes())
    raw[SLOT_BYTES + 70] ^= 1
    (tmp_path / "state").write_bytes(raw)
    assert slots.read() == (1, {"n": 1})
    slots.write({"n": 3})
    assert slots.read() == (2, {"n": 3})


def test_a_state_with_both_slots_damaged_is_damage(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path), "state")
    slots.create({"n": 1})
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(Damaged):
        slots.read()
    with pytest.raises(Damaged):
        slots.write({"n": 2})


def test_a_state_that_is_too_large_is_refused_before_it_is_written(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path), "state")
    slots.create({"n": 1})
    with pytest.raises(StoreFailed):
        slots.write({"n": "x" * SLOT_BYTES})
    assert slots.read() == (1, {"n": 1})


def flipped(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_a_damaged_undo_record_is_never_executed(host: AgentHost, fault: str) -> None:
    """With the real processes; `test_damage_every_byte` leaves none out."""
    host.apply(fault)
    for who in host.keepers():
        host.kill(who)
    path = host.home / "leases/l1/undo"
    whole = path.read_bytes()
    for position in (0, 9, whole.index(b"\n") - 1, whole.index(b"prior"), len(whole) - 1):
        flipped(path, position)
        line = host.undo()
        assert line["state"] == "stuck"
        assert "not executed" in line["reason"]
        assert host.broken()
        path.write_bytes(whole)
    assert host.undo()["state"] == "clean"  # the control: whole again, it is executed


@pytest.mark.parametrize("what", ["undo", "state"])
def test_a_damaged_record_is_shown_as_stuck_by_every_verb(host: AgentHost, what: str) -> None:
    answer = host.apply()
    assert "error" not in answer, answer
    path = host.home / "leases/l1" / what
    path.write_bytes(b"x" * path.stat().st_size)
    wait_until(lambda: not host.keepers())
    for line in (*host.ask("list")["leases"], *host.ask("sweep")["leases"], *host.ask("undo", all=True)["leases"]):
        assert line["state"] == "stuck"
        assert str(path.parent) in line["reason"]
    assert host.ask("record", lease="l1")["state"]["state"] == "stuck"
    assert host.broken()


def test_a_holder_of_a_damaged_lease_ends_by_itself(host: AgentHost) -> None:
    host.apply(LOCK)
    path = host.home / "leases/l1/state"
    path.write_bytes(b"x" * path.stat().st_size)
    wait_until(lambda: not host.holders(), within_s=4)


def test_an_undo_record_that_is_gone_is_damage_not_a_clean_lease(host: AgentHost) -> None:
    host.apply()
    (host.home / "leases/l1/undo").unlink()
    assert host.undo()["state"] == "stuck"


def test_a_record_of_a_newer_form_is_not_executed(host: AgentHost) -> None:
    host.apply()
    undo = host.lease_folder().undo_record()
    assert undo is not None
    write_document(str(host.home / "leases/l1"), "undo", {**undo.to_json(), "form": 2})
    assert host.undo()["state"] == "stuck"
    assert host.broken()
