# SPDX-License-Identifier: Apache-2.0
"""Leases on a test host: make one, look from outside whether it is in force, take away one trigger or another."""

import json
import subprocess
from typing import Any

from bench.files import AGENT
from bench.hosts import Host
from bench.waiting import wait_until

__all__ = ["DEFAULT_MW", "apply", "ask_apart", "broken", "kill_keeper", "order", "state", "stop_timer", "units"]

DEFAULT_MW = 700_000
_FAULTS = {"gpu.power.cap": {"watts": 300}, "gpu.memory.fill": {"used_percent": 80}}


def order(
    host: Host,
    lease: str,
    ttl_s: float,
    fault: str = "gpu.power.cap",
    *,
    gpu: int = 0,
    max_duration_s: float = 0.0,
) -> dict[str, Any]:
    """Write the request of an apply."""
    uuid = host.gpus().show()[gpu]["identity"]["uuid"]
    params = {"gpu": uuid, **_FAULTS[fault]}
    most_s = max_duration_s or ttl_s
    return {"lease": lease, "fault": fault, "params": params, "ttl_s": ttl_s, "max_duration_s": most_s, "run": "r"}


def apply(
    host: Host,
    lease: str,
    ttl_s: float = 60.0,
    fault: str = "gpu.power.cap",
    *,
    gpu: int = 0,
    max_duration_s: float = 0.0,
) -> dict[str, Any]:
    """Put a fault in; it must be in force."""
    answer = host.agent("apply", order(host, lease, ttl_s, fault, gpu=gpu, max_duration_s=max_duration_s))
    assert answer.get("state") == "active", answer
    assert broken(host, gpu)
    return answer


def ask_apart(host: Host, verb: str, request: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Ask the agent over a connection of its own, and do not wait for the answer."""
    asking = host.start([AGENT, verb])
    assert asking.stdin is not None
    asking.stdin.write(json.dumps({"protocol": 1, **request}).encode())
    asking.stdin.close()
    asking.stdin = None
    return asking


def broken(host: Host, gpu: int = 0) -> bool:
    """Look from outside, through no agent and no network, whether one of the faults is in force."""
    seen = host.gpus().settings()[gpu]
    return bool(seen["power_limit_mw"] != DEFAULT_MW or seen["memory_by_process"])


def state(host: Host, lease: str) -> dict[str, Any]:
    """Return the whole state of a lease."""
    found: dict[str, Any] = host.agent("record", {"lease": lease})["state"]
    return found


def units(host: Host, lease: str) -> dict[str, str]:
    """Return each unit of a lease that systemd knows, with its state: `keep`, `revert.timer` and so on."""
    shown = host.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", f"chaosgpu-*-{lease}*"], check=True)
    found = {}
    for row in shown.stdout.splitlines():
        name, _, active, sub = row.split()[:4]
        kind = name.split("-")[1]
        found[f"revert.{name.rpartition('.')[2]}" if kind == "revert" else kind] = f"{active} {sub}"
    return found


def kill_keeper(host: Host, lease: str) -> None:
    """Kill the keeper of a lease and wait until it is gone."""
    words = ["pkill", "--signal", "KILL", "-f", f"agent.pyz keep .*/{lease}$"]
    host.run(words, check=True)
    wait_until(lambda: "keep" not in units(host, lease))


def stop_timer(host: Host, lease: str) -> None:
    """Take the timer of a lease away, and the reverter if it has started it."""
    unit = f"chaosgpu-revert-{lease}"
    host.run(["systemctl", "stop", f"{unit}.timer", f"{unit}.service"])  # fails where one of them is gone
    wait_until(lambda: units(host, lease).keys() <= {"keep", "hold"})
