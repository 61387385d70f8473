# SPDX-License-Identifier: Apache-2.0
"""A disk on which no file can be made any more: no unit stays broken for that."""

from collections.abc import Iterator

import pytest

from bench.hosts import Host
from bench.leases import state
from bench.units import GROUP, apply, drop_ins, put, shown, take_away

FAULTS = ("unit.stop", "unit.freeze", "unit.gpu.deny", "unit.gpu.hide")
STATE = "/var/lib/chaosgpu"


def _name(fault: str) -> str:
    return f"disk-{fault.replace('.', '-')}.service"


@pytest.fixture
def disk(host: Host) -> Iterator[Host]:
    """Give the agent's state a disk of its own, and start a service for each fault."""
    host.run(["sh", "-c", f"mkdir -p {STATE}; mount -t tmpfs -o mode=0700,nr_inodes=300 tmpfs {STATE}"], check=True)
    for fault in FAULTS:
        put(host, _name(fault))
    yield host
    host.run(["sh", "-c", f"rm -f {STATE}/full.*"], check=True)
    host.agent("undo", {"all": True}, timeout_s=120)
    host.run(["umount", "--lazy", STATE], check=True)
    take_away(host, *map(_name, FAULTS))


def _well(host: Host, fault: str) -> bool:
    seen = shown(host, _name(fault), "ActiveState", "FreezerState", "DevicePolicy")
    frozen = host.run(["cat", f"{GROUP}/{_name(fault)}/cgroup.freeze"]).stdout.strip()
    return (seen, frozen) == (["active", "running", "auto"], "0")


@pytest.mark.timeout(300)
def test_a_disk_without_room_for_a_file_keeps_no_unit_down_frozen_or_without_its_gpu(disk: Host) -> None:
    leases = [apply(disk, fault, _name(fault), 60.0)["lease"] for fault in FAULTS]
    disk.run(["sh", "-c", f"n=0; while touch {STATE}/full.$n; do n=$((n+1)); done"])
    assert "No space left" in disk.run(["touch", f"{STATE}/any"]).stderr
    assert not any(_well(disk, fault) for fault in FAULTS if fault != "unit.gpu.hide")
    disk.agent("undo", {"all": True}, timeout_s=120)
    assert {lease: state(disk, lease)["state"] for lease in leases} == dict.fromkeys(leases, "clean")
    assert [fault for fault in FAULTS if not _well(disk, fault)] == []
    assert drop_ins(disk) == []
