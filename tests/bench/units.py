# SPDX-License-Identifier: Apache-2.0
"""Small services on a test host to put faults on: written, started, looked at from outside, and taken away."""

import itertools
from typing import Any

from bench.hosts import Host

__all__ = ["GROUP", "LOOP", "apply", "drop_ins", "order", "put", "shown", "take_away", "undo"]

_NUMBERS = itertools.count()
ETC = "/etc/systemd/system"
GROUP = "/sys/fs/cgroup/system.slice"
LOOP = "ExecStart=/bin/sh -c 'while sleep 0.1; do :; done'"


def put(host: Host, name: str, service: str = LOOP, unit: str = "", *, start: bool = True) -> str:
    """Write a unit and start it; return its name."""
    text = f"[Unit]\n{unit}\n[Service]\n{service}\n[Install]\nWantedBy=multi-user.target\n"
    host.run(["sh", "-c", f"cat > {ETC}/{name}; systemctl daemon-reload"], text, check=True)
    if start:
        host.run(["systemctl", "start", name], check=True)
    return name


def take_away(host: Host, *names: str) -> None:
    """Take units away, whatever a test has left of them."""
    for name in names:
        host.run(["sh", "-c", f"systemctl thaw {name}; systemctl stop {name}; systemctl disable --quiet {name}"])
    host.run(["sh", "-c", " ".join(["rm -rf", *(f"{ETC}/{name} {ETC}/{name}.d" for name in names)])], check=True)
    host.run(["systemctl", "daemon-reload"], check=True)
    host.run(["systemctl", "reset-failed", *names])


def order(fault: str, unit: str, ttl_s: float = 120.0, **params: Any) -> dict[str, Any]:
    """Return an order with a lease of its own, named by its fault."""
    lease = f"{fault}-{next(_NUMBERS)}"
    asked = {"lease": lease, "fault": fault, "params": {"unit": unit, **params}, "run": "units"}
    return {**asked, "ttl_s": ttl_s, "max_duration_s": ttl_s}


def apply(host: Host, fault: str, unit: str, ttl_s: float = 120.0, **params: Any) -> dict[str, Any]:
    """Put a fault in; it must be in force."""
    answer = host.agent("apply", order(fault, unit, ttl_s, **params), timeout_s=60)
    assert answer.get("state") == "active", answer
    return answer


def undo(host: Host, answer: dict[str, Any]) -> dict[str, Any]:
    """Undo a lease and return its line."""
    [line] = host.agent("undo", {"lease": answer["lease"]}, timeout_s=60)["leases"]
    found: dict[str, Any] = line
    return found


def shown(host: Host, unit: str, *names: str) -> list[str]:
    """Return properties of a unit as systemd tells them, in the order asked for."""
    said = host.run(["systemctl", "show", f"--property={','.join(names)}", unit], check=True).stdout
    found = dict(line.partition("=")[::2] for line in said.splitlines())
    return [found.get(name, "") for name in names]


def drop_ins(host: Host) -> list[str]:
    """Return every drop-in of ours, wherever it lies."""
    return host.run(["find", "/run/systemd", "/etc/systemd", "-name", "*chaosgpu-*.conf*"]).stdout.split()
