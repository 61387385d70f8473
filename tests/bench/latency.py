# SPDX-License-Identifier: Apache-2.0
"""How long after its deadline a lease is clean, by the host's own record: `python -m bench.latency [LEASES]`.

Measured with keeper and timer, with each alone, and with the timer alone while every core is busy.
"""

import json
import math
import sys
import time
from collections.abc import Callable

from bench.hosts import BENCHES, Bench, Host
from bench.leases import apply, kill_keeper, state, stop_timer
from bench.plan import me
from bench.waiting import wait_until

__all__ = ["MODES", "figures", "latencies_s", "p99_s"]

MODES = ("both", "keeper", "timer", "timer, all cores busy")
_TTL_S = 8.0
_EACH = [(fault, gpu) for gpu in (0, 1) for fault in ("gpu.power.cap", "gpu.memory.fill")]
_AT_MOST_S, _P99_S = 5.0, 2.0


def latencies_s(host: Host, mode: str, count: int) -> list[float]:
    """Return the seconds from the deadline to `clean` of so many leases, four at a time."""
    host.run(["sh", "-c", f"for n in 1 2 3 4; do {_busy(mode)}; done"], check=True)
    try:
        found: list[float] = []
        while len(found) < count:
            found += _four(host, mode)
    finally:
        host.run(["systemctl", "stop", "busy*"])
    return found[:count]


def _busy(mode: str) -> str:
    return "systemd-run --quiet --unit=busy$n sh -c 'while :; do :; done'" if "busy" in mode else ":"


def _four(host: Host, mode: str) -> list[float]:
    leases = [f"late-{time.monotonic_ns()}" for _ in _EACH]
    for lease, (fault, gpu) in zip(leases, _EACH, strict=True):
        apply(host, lease, ttl_s=_TTL_S, fault=fault, gpu=gpu)
        if mode.startswith("timer"):
            kill_keeper(host, lease)
        if mode == "keeper":
            stop_timer(host, lease)
    return [_late_s(host, lease) for lease in leases]


def _late_s(host: Host, lease: str) -> float:
    wait_until(lambda: state(host, lease)["state"] == "clean", _TTL_S + 40.0)
    ended = state(host, lease)
    assert ended["ended_by"] == "deadline", ended
    return float(ended["history"][-1]["boottime_s"]) - float(ended["deadline_s"])


def p99_s(seconds: list[float]) -> float:
    """Return the 99th percentile by nearest rank; of fewer than a hundred it is the largest."""
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]


def figures(host: Host, count: int, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Measure every mode and return its figures."""
    rows: list[dict[str, object]] = []
    for mode in MODES:
        found = latencies_s(host, mode, count)
        for what, value, target in (
            ("median", sorted(found)[len(found) // 2], None),
            ("p99", p99_s(found), _P99_S),
            ("largest", max(found), _AT_MOST_S),
        ):
            name = f"revert latency after the deadline, {mode}, {what} of {count}"
            row = {"name": name, "value": round(value, 3), "unit": "s", "target": target}
            rows.append({**row, "holds": target is None or value <= target})
            say(json.dumps(rows[-1]))
    return rows


def _main(count: int) -> int:
    bench = Bench(BENCHES / f"latency-{me().pid}")
    bench.up(1)
    try:
        rows = figures(bench.hosts[0], count, lambda line: print(line, flush=True))  # noqa: T201 (a command)
    finally:
        bench.down()
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
