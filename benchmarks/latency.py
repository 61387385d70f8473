# SPDX-License-Identifier: Apache-2.0
"""How late leases end: `python benchmarks/latency.py --minutes 20`, which goes on where the last session stopped.

Needs root and test hosts (docs/bench.md). What was measured is kept in `figures/safety/latency.jsonl`; lines of another
agent's sources do not count.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import safety_runs
from figures import Figure, at_most, exactly, not_measured

sys.path[:0] = [str(safety_runs.ROOT), str(safety_runs.ROOT / "tests")]

from bench.conditions import CONDITIONS, can, prepare  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.hosts import BENCHES, Bench  # noqa: E402
from bench.latency import BATCH, TRIGGERS, latencies, p99_s  # noqa: E402
from bench.plan import me  # noqa: E402

__all__ = ["figures"]

_LEASES = {"idle": 100, "every core busy": 100}
_OTHERS = 24
_P99_S, _LARGEST_S = 2.0, 5.0
# An undo starts a process for the driver: where none can be had for half a minute it ends stuck (docs/safety.md).
_NOT_PROMISED = "processes short"
_FILE = Path("figures") / "safety" / "latency.jsonl"


def main() -> int:
    """Measure what is left to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no new batch after this long")
    parser.add_argument("--only", default="", help="measure one condition only")
    arguments = parser.parse_args()
    until_s = time.time() + 60 * arguments.minutes
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench(BENCHES / f"latency-{me().pid}")
    bench.up(1)
    try:
        prepare(bench.hosts[0])
        while time.time() < until_s and (left := _left(arguments.only)):
            condition, triggers = left[0]
            found = latencies(bench, bench.hosts[0], condition, triggers)
            with _FILE.open("a", encoding="utf-8") as file:
                for late in found:
                    file.write(json.dumps({"agent": safety_runs.agent_digest(), **late.__dict__}) + "\n")
            print(condition, triggers, [late.late_s for late in found], flush=True)
    finally:
        bench.down()
    return 0


def _left(only: str) -> list[tuple[str, str]]:
    """List what has too few leases yet, the one with the fewest batches first."""
    lines = _lines()
    rows = [(condition, triggers) for condition in CONDITIONS for triggers in TRIGGERS if can(condition)]
    asked = [row for row in rows if row[0] == only or (not only and row[0] != _NOT_PROMISED)]
    left = [row for row in asked if len(lines[row]) < _LEASES.get(row[0], _OTHERS)]
    return sorted(left, key=lambda row: len(lines[row]) // BATCH)


def _lines() -> dict[tuple[str, str], list[dict[str, Any]]]:
    agent = safety_runs.agent_digest()
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for text in _FILE.read_text(encoding="utf-8").splitlines() if _FILE.exists() else ():
        line = json.loads(text)
        if line["agent"] == agent:
            found[line["condition"], line["triggers"]].append(line)
    return found


def figures() -> list[Figure]:
    """Return what was measured so far."""
    return [figure for condition in CONDITIONS for triggers in TRIGGERS for figure in _row(condition, triggers)]


def _row(condition: str, triggers: str) -> list[Figure]:
    name = f"revert latency after the deadline, {condition}, {triggers}"
    lines = _lines()[condition, triggers]
    if condition == _NOT_PROMISED:
        stuck = sum(line["state"] == "stuck" for line in lines)
        return [Figure(f"{name}: stuck", stuck, f"of {len(lines)} leases", "", None)] if lines else []
    if not lines:
        return [not_measured(f"{name}: largest", "s", f"<= {_LARGEST_S:g}", "no batch was run on this agent")]
    seconds = [float(line["late_s"]) for line in lines]
    load = sum(line["load"] for line in lines) / len(lines)
    return [
        Figure(f"{name}: leases", len(lines), "leases", f"load {load:.0f} on the machine", None),
        exactly(f"{name}: not clean", sum(line["state"] != "clean" for line in lines), "leases", 0),
        at_most(f"{name}: median", sorted(seconds)[len(seconds) // 2], "s", _P99_S),
        at_most(f"{name}: p99", p99_s(seconds), "s", _P99_S),
        at_most(f"{name}: largest", max(seconds), "s", _LARGEST_S),
    ]


if __name__ == "__main__":
    sys.exit(main())
