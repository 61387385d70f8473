# SPDX-License-Identifier: Apache-2.0
"""How long after its deadline a lease is clean, by the host's own record, whatever the host suffers from meanwhile.

With keeper and timer and with each alone, under each condition of `bench.conditions`. The record is read from outside:
no process is needed on the host for that, and none disturbs it.
"""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.conditions import CONDITIONS
from bench.hosts import Bench, Host
from bench.leases import ask_apart, kill_keeper, order, stop_timer
from bench.plan import BenchFailed
from bench.waiting import wait_until
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.record import State

__all__ = ["BATCH", "TRIGGERS", "Late", "latencies", "p99_s", "seen"]

TRIGGERS = ("both", "keeper", "timer")
_TTLS_S = (5.0, 10.0, 20.0, 40.0)  # the first that leaves time to make all leases and to take triggers away
_OVER = ("clean", "stuck")
_EACH = [(fault, gpu) for gpu in (0, 1) for fault in ("gpu.power.cap", "gpu.memory.fill")]
BATCH = len(_EACH)


@dataclass(frozen=True)
class Late:
    """One lease that came to its deadline."""

    condition: str
    triggers: str
    state: str
    late_s: float
    load: float

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(self.__dict__)


def latencies(bench: Bench, host: Host, condition: str, triggers: str) -> list[Late]:
    """Let four leases come to their deadline at once; the host was prepared. A busy machine needs longer leases."""
    for ttl_s in _TTLS_S:
        leases = [f"late-{time.monotonic_ns()}-{number}" for number in range(BATCH)]
        asking = [
            ask_apart(host, "apply", order(host, lease, ttl_s, fault, gpu=gpu))
            for lease, (fault, gpu) in zip(leases, _EACH, strict=True)
        ]
        active = [b'"active"' in asked.communicate(timeout=60)[0] for asked in asking]
        if all(active):
            for lease in leases:
                if triggers == "timer":
                    kill_keeper(host, lease)
                if triggers == "keeper":
                    stop_timer(host, lease)
            with CONDITIONS[condition](bench, host):
                load, in_time = os.getloadavg()[0], all(seen(host, lease).state == "active" for lease in leases)
                wait_until(lambda: all(seen(host, one).state in _OVER for one in leases), ttl_s + 45.0)  # noqa: B023 (called at once)
            if in_time:
                return [_late(condition, triggers, seen(host, lease), load) for lease in leases]
        host.agent("undo", {"all": True})
    raise BenchFailed(f"{host.name} was not made to suffer before its leases of {_TTLS_S[-1]:g} s were over.")


def _late(condition: str, triggers: str, ended: State, load: float) -> Late:
    assert ended.ended_by == "deadline", ended
    late_s = float(str(ended.history[-1]["boottime_s"])) - ended.deadline_s
    return Late(condition, triggers, ended.state, round(late_s, 3), round(load, 1))


def seen(host: Host, lease: str) -> State:
    """Read a lease's state from outside the host."""
    home = Home(f"/proc/{host.init()}/root/var/lib/chaosgpu", limited=True)
    state = LeaseFolder(home, lease, SystemClock()).seen()
    assert state is not None, f"{Path(home.path)} has no lease {lease}"
    return state


def p99_s(seconds: list[float]) -> float:
    """Return the 99th percentile by nearest rank; of fewer than a hundred it is the largest."""
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]
