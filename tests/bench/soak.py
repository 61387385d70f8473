# SPDX-License-Identifier: Apache-2.0
"""Random kills on a host: whatever of ours is ended while leases are made, active and undone, nothing stays.

A round is made of its number alone: which faults, which kills, when. The host sweeps every two seconds, since one who
kills at random now and then ends a lease's keeper and its timer too.
"""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import groups
from bench.controllers import residue
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.leases import ask_apart
from bench.waiting import wait_until

__all__ = ["BOUND_S", "Round", "play", "prepare"]

BOUND_S = 5.0
TTL_S = 6.0
_FAULTS: dict[str, dict[str, Any]] = {
    "gpu.power.cap": {"watts": 300},
    "gpu.memory.fill": {"used_percent": 80},
    "gpu.memory.leak": {"rate_mib_s": 400},
    "gpu.clock.lock": {"mhz": 600},
    "gpu.compute_mode.set": {"mode": "prohibited"},
    "gpu.persistence.off": {},
}
_OURS = {"keep": "keeper", "hold": "holder", "due": "reverter", "tend": "sweep"}
_SWEEP = "/etc/systemd/system/chaosgpu-sweep.timer.d"


@dataclass(frozen=True)
class Round:
    """What came of one round."""

    number: int
    faults: tuple[str, ...]
    applied: int
    kills: tuple[str, ...]
    residue: tuple[str, ...]
    late_s: float


def prepare(host: Host) -> None:
    """Install the sweep, and let it come often."""
    host.run([AGENT, "install-units"], check=True)
    often = f"mkdir -p {_SWEEP}; printf '[Timer]\\nOnCalendar=\\nOnCalendar=*:*:0/2\\n' > {_SWEEP}/soak.conf"
    host.run(["sh", "-c", f"{often}; systemctl daemon-reload; systemctl restart chaosgpu-sweep.timer"], check=True)


def play(bench: Bench, host: Host, number: int) -> Round:
    """Make leases on both GPUs, kill at random meanwhile, and see what is left five seconds after the deadline."""
    dice = random.Random(f"chaosgpu soak {number}")
    faults = [dice.choice(sorted(_FAULTS)) for _ in (0, 1)]
    leases = [f"soak-{number}-{gpu}" for gpu in (0, 1)]
    asking = [
        ask_apart(host, "apply", _order(host, lease, fault, gpu))
        for gpu, (lease, fault) in enumerate(zip(leases, faults, strict=True))
    ]
    if dice.random() < 0.6:  # else they are struck while they apply
        wait_until(lambda: all(asked.poll() is not None for asked in asking), 60.0)
    undo_s = dice.uniform(0.0, 3.0) if dice.random() < 0.6 else None  # else it comes to its deadline
    kills: list[str] = []
    began = time.monotonic()
    for at_s in sorted(
        dice.uniform(0.0, 4.0 if undo_s is not None else TTL_S + 0.5) for _ in range(dice.randint(3, 8))
    ):
        if undo_s is not None and undo_s <= at_s:
            asking += [ask_apart(host, "undo", {"lease": lease}) for lease in leases]
            undo_s = None
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        kills += _kill_one(bench, host, dice, leases)
    applied = 0
    for number_asked, asked in enumerate(asking):
        out = asked.communicate(timeout=60)[0]
        applied += number_asked < 2 and b'"active"' in out
    left, late_s = _wait(host, leases)
    return Round(number, tuple(faults), applied, tuple(kills), tuple(left), late_s)


def _order(host: Host, lease: str, fault: str, gpu: int) -> dict[str, Any]:
    params = {"gpu": host.gpus().show()[gpu]["identity"]["uuid"], **_FAULTS[fault]}
    return {"lease": lease, "fault": fault, "params": params, "ttl_s": TTL_S, "max_duration_s": TTL_S, "run": "soak"}


def _kill_one(bench: Bench, host: Host, dice: random.Random, leases: list[str]) -> list[str]:
    """Kill one process of ours on the host, or stop the timer of one lease; return what it was."""
    found = sorted(_processes(bench, host))
    timers = [
        lease
        for lease in leases
        if Path(f"/proc/{host.init()}/root/run/systemd/transient/chaosgpu-revert-{lease}.timer").exists()
    ]
    choices = [*found, *(("timer", 0, lease) for lease in timers)]
    if not choices:
        return []
    kind, pid, lease = dice.choice(choices)
    if kind == "timer":
        host.run(["systemctl", "stop", f"chaosgpu-revert-{lease}.timer"])
        return ["timer"]
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return []  # it ended meanwhile
    return [kind]


def _processes(bench: Bench, host: Host) -> list[tuple[str, int, str]]:
    """List what of ours runs on the host, by what it is; the child that calls the driver is a fork of its parent."""
    found: dict[int, str] = {}
    for pid in groups.pids(f"{bench.plan.identity}/{host.name}"):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile
        places = [place for place, word in enumerate(words) if word == AGENT]
        if places and "python" in words[0]:
            found[pid] = _OURS.get(words[places[0] + 1], "agent")
    return [("driver" if _parent(pid) in found else kind, pid, "") for pid, kind in found.items()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # it ended meanwhile


def _wait(host: Host, leases: list[str]) -> tuple[list[str], float]:
    """Wait until nothing is left, at most until the last deadline and the bound; return what is left, and how late."""
    ends_s = [_deadline_s(host, lease) for lease in leases]
    last_s = max(ends_s)
    while True:
        left = residue(host)
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        if not left or now_s > last_s + BOUND_S:
            return left, round(max(0.0, now_s - last_s), 2)
        time.sleep(0.2)


def _deadline_s(host: Host, lease: str) -> float:
    """Return its deadline by the host's record; now where it was never made, or ended before it had one."""
    state = host.agent("record", {"lease": lease}).get("state")
    return float(state["deadline_s"] if state else 0.0) or time.clock_gettime(time.CLOCK_BOOTTIME)
