# SPDX-License-Identifier: Apache-2.0
"""Leases on a virtual machine: make one, and read how it stands from its record, past the agent."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vm.guest import RELAPSE
from vm.vm import Vm

__all__ = ["LEASES", "apply", "claimed", "late_s", "order", "ready", "recorded", "states", "when_clean", "without"]

LEASES = "/var/lib/chaosgpu/leases"
_FAULTS: dict[str, dict[str, int]] = {"gpu.power.cap": {"watts": 300}, "gpu.memory.fill": {"used_percent": 80}}
_SLOT = re.compile(r"chaosgpu 1 (\d+) \d+ [0-9a-f]{64}\n")


def order(guest: Vm, lease: str, fault: str = "gpu.power.cap", *, gpu: int = 0, ttl_s: float = 600.0) -> dict[str, Any]:
    """Return what is asked of `apply`."""
    uuids = guest.run("nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
    params = {"gpu": uuids[gpu], **_FAULTS[fault]}
    return {"lease": lease, "fault": fault, "params": params, "ttl_s": ttl_s, "max_duration_s": ttl_s, "run": "r"}


def apply(guest: Vm, lease: str, fault: str = "gpu.power.cap", *, gpu: int = 0, ttl_s: float = 600.0) -> None:
    """Put a fault in; it must be in force."""
    answer = guest.agent("apply", order(guest, lease, fault, gpu=gpu, ttl_s=ttl_s))
    assert answer.get("state") == "active", answer


def recorded(guest: Vm) -> dict[str, dict[str, Any]]:
    """Return the newest state of each lease as it is on the disk."""
    names = guest.run(f"cd {LEASES} && for l in *; do echo \"$l\"; tr -d '\\000' < $l/state; echo; echo; done; true")
    found: dict[str, dict[str, Any]] = {}
    for part in names.split("\n\n"):
        lease, _, rest = part.strip().partition("\n")
        slots = {int(slot[1]): rest[slot.end() :] for slot in _SLOT.finditer(rest)}
        if slots:
            found[lease] = json.JSONDecoder().raw_decode(slots[max(slots)])[0]
    return found


def states(guest: Vm) -> dict[str, str]:
    """Return the name of each lease's state."""
    return {lease: str(state["state"]) for lease, state in recorded(guest).items()}


def claimed(guest: Vm) -> set[str]:
    """Return the leases that still hold something."""
    files = guest.run("cat /var/tmp/chaosgpu-claim-*.json 2>/dev/null; true")
    return set(re.findall(r'"lease": *"([^"]*)"', files))


def late_s(state: dict[str, Any]) -> float:
    """Return how many seconds after its deadline a lease was clean, on the guest's own clock."""
    return float(state["history"][-1]["boottime_s"]) - float(state["deadline_s"])


def when_clean(guest: Vm, lease: str, within_s: int = 120) -> dict[str, Any]:
    """Wait in there until a lease is clean, and return its state; looking from here would slow its clock down."""
    look = f'grep -aq \'"state":"clean"\' {LEASES}/{lease}/state'
    guest.run(f"for n in $(seq {within_s}); do {look} && exit 0; sleep 1; done; exit 1", within_s + 60.0)
    state = recorded(guest)[lease]
    assert state["state"] == "clean"
    return state


def ready(guest: Vm) -> None:
    """Forget what was before, so that each test sees its own leases alone, whatever became of the last test's."""
    guest.run(
        f"systemctl stop chaosgpu-sweep.timer 'chaosgpu-keep-*' 'chaosgpu-hold-*' 'chaosgpu-revert-*.timer'; "
        f"rm -rf {LEASES}/* /var/tmp/chaosgpu-claim-*.json {RELAPSE}; nvidia-smi -pl 700 > /dev/null; sync"
    )


@contextmanager
def without(guest: Vm, *units: str) -> Iterator[None]:
    """Take units away, over pulled plugs as well, and give them back."""
    folder = "/etc/systemd/system"
    guest.run("".join(f"mv {folder}/{unit} /root/ && ln -s /dev/null {folder}/{unit}; " for unit in units) + "sync")
    try:
        yield
    finally:
        guest.run("".join(f"mv -f /root/{unit} {folder}/; " for unit in units) + "systemctl daemon-reload; sync")
