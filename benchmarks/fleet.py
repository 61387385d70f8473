# SPDX-License-Identifier: Apache-2.0
"""What a fleet costs, beside Ansible itself: `python benchmarks/fleet.py`; it goes on where it stopped.

Needs root (docs/bench.md), some 4 GiB of memory, and a machine that does nothing else: about half an hour on two cores.
Rounds are kept in `figures/fleet/rounds.jsonl`; those of other sources do not count.
"""

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import safety_runs
from figures import Figure, at_most, not_measured, publish
from fleet_rounds import FORKS, KINDS, Fleet, NotTogetherError

sys.path[:0] = [str(safety_runs.ROOT), str(safety_runs.ROOT / "tests")]

from bench.hosts import BENCHES, Bench  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.plan import me  # noqa: E402 (as above)
from crash import depends  # noqa: E402 (as above)

__all__ = ["figures"]

SIZES = (8, 16, 32)
_ROUNDS = 5
_TRIES = 4
_FILE = Path("figures") / "fleet" / "rounds.jsonl"
_OF_SETUP, _OF_PING, _SKEW_MS, _LINEAR = 0.6, 1.25, 100.0, 1.15
# What a round on one host more may cost over what the smaller fleets foretell is seen at the largest of three sizes.
_FORETOLD = 3

type _Lines = dict[tuple[int, str], list[dict[str, Any]]]


def main() -> int:
    """Measure what is left to measure, then write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no new round after this long")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="rounds for each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES], help="how many hosts")
    parser.add_argument("--only-figures", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    until_s = time.time() + 60 * asked.minutes
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    for size in [] if asked.only_figures else asked.sizes:
        left = asked.rounds - min(len(_lines()[size, kind]) for kind in KINDS)
        if left > 0 and time.time() < until_s:
            _measure(size, left, until_s)
    return publish("fleet", figures(asked.sizes))


def _measure(size: int, rounds: int, until_s: float) -> None:
    bench = Bench(BENCHES / f"fleet-{me().pid}")
    bench.up(size)
    try:
        with tempfile.TemporaryDirectory(prefix="chaosgpu-fleet-") as folder:
            fleet = Fleet(bench, Path(folder))
            for kind in ("ping", "scan"):  # connections, and what the hosts keep of their packages
                fleet.measure(kind)
            for _ in range(rounds):
                if time.time() > until_s:
                    return
                for kind in KINDS:
                    _keep({"sources": _digest(), "hosts": size, "kind": kind, **_one(fleet, kind)})
    finally:
        bench.down()


def _one(fleet: Fleet, kind: str) -> dict[str, Any]:
    """Measure one kind; a run that could not be at one instant is told and tried again."""
    for refused in range(_TRIES):
        try:
            return {**fleet.measure(kind), "refused": refused}
        except NotTogetherError:
            print("refused: not all hosts could be had at one instant", flush=True)
    raise RuntimeError(f"no run of {_TRIES} was permitted: this machine is too busy for so many hosts")


def _keep(line: dict[str, Any]) -> None:
    with _FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


@cache  # what is put on the hosts at the start counts, whatever becomes of the tree meanwhile
def _digest() -> str:
    """Return a digest of what the figures depend on."""
    ours = safety_runs.ROOT / "chaosgpu"
    total = hashlib.sha256()
    for part in ("fleet", "lease", "controls", "cuda", "agent"):
        for path in sorted((ours / part).rglob("*.py")):
            total.update(depends.said(path.read_text(encoding="utf-8")).encode())
    return total.hexdigest()[:16]


def _lines() -> _Lines:
    found: _Lines = defaultdict(list)
    for text in _FILE.read_text(encoding="utf-8").splitlines() if _FILE.exists() else ():
        line = json.loads(text)
        if line["sources"] == _digest():
            found[line["hosts"], line["kind"]].append(line)
    return found


def figures(sizes: list[int]) -> list[Figure]:
    """Return what was measured so far."""
    lines = _lines()
    missing = [size for size in sizes if not all(lines[size, kind] for kind in KINDS)]
    found = [figure for size in sizes if size not in missing for figure in _of_size(lines, size)]
    found += [not_measured(f"{size} hosts", "", "shown", "no round was run on these sources") for size in missing]
    return [*found, *(_linear(lines, sizes) if not missing else [])]


def _of_size(lines: _Lines, size: int) -> list[Figure]:
    name = f"{size} hosts"
    found = [
        _shown(f"{name}: rounds", len(lines[size, "fault"]), "rounds", f"forks {FORKS}, pipelining, open connections")
    ]
    for what, cost in _COSTS.items():
        found.append(
            at_most(
                f"{name}: drift scan over setup, {what}", _ratio(lines, size, "scan", "setup", cost), "x", _OF_SETUP
            )
        )
        over = _ratio(lines, size, "scan", "ping", cost)
        found.append(_shown(f"{name}: drift scan over ping, {what}", over, "x", f"<= {_OF_PING:g} is aimed at"))
        found.append(
            _shown(f"{name}: leases over ping, {what}", _ratio(lines, size, "leases", "ping", cost), "x", "shown")
        )
        over = _ratio(lines, size, "fault", "ping", cost)
        found.append(_shown(f"{name}: a run of one fault over ping, {what}", over, "x", "shown"))
    for kind in KINDS:
        row = lines[size, kind]
        told = [_middle(row, cost) for cost in ("wall_s", "controller_cpu_s", "hosts_cpu_s")]
        words = "{:.2f} s, controller {:.2f} s, hosts {:.2f} s".format(*told)
        found.append(_shown(f"{name}: {kind}, median wall and processor time", words, "", "shown"))
    skews = [1000 * line["spread_s"] for line in lines[size, "fault"]]
    errors = [1000 * line["clock_error_s"] for line in lines[size, "fault"]]
    plain = [1000 * line["spread_s"] for line in lines[size, "stamps"]]
    refused = sum(line.get("refused", 0) for line in lines[size, "fault"])
    tried = f"before {len(skews)} that were put in"
    return [
        *found,
        _shown(f"{name}: runs refused, a clock or a host not ready for one instant", refused, "runs", tried),
        at_most(f"{name}: injections apart, largest", max(skews), "ms", _SKEW_MS),
        _shown(f"{name}: by how much that may be wrong, largest", max(errors), "ms", "test hosts share one clock"),
        _shown(f"{name}: a command of plain Ansible's apart, median", statistics.median(plain), "ms", "shown"),
    ]


def _linear(lines: _Lines, sizes: list[int]) -> list[Figure]:
    """Compare the largest fleet with the line through the two smaller ones."""
    if len(sizes) < _FORETOLD:
        return []
    first, second, last = sorted(sizes)[-_FORETOLD:]
    found = []
    for kind in ("ping", "scan", "leases", "fault"):
        costs = {size: statistics.median(_cpu(line) for line in lines[size, kind]) for size in (first, second, last)}
        each = (costs[second] - costs[first]) / (second - first)
        once = costs[first] - first * each
        found.append(_shown(f"{kind}: processor time a host", 1000 * each, "ms", f"and {once:.2f} s once"))
        if kind != "ping":
            over = costs[last] / (once + last * each)
            found.append(at_most(f"{kind}: processor time at {last} hosts over the line foretold", over, "x", _LINEAR))
            doubled = (costs[last] / last) / (costs[second] / second)
            found.append(_shown(f"{kind}: processor time a host, {last} hosts over {second}", doubled, "x", "shown"))
    return found


def _cpu(line: dict[str, Any]) -> float:
    return float(line["controller_cpu_s"]) + float(line["hosts_cpu_s"])


_COSTS: dict[str, Callable[[dict[str, Any]], float]] = {
    "wall": lambda line: float(line["wall_s"]),
    "processor time": _cpu,
}


def _ratio(lines: _Lines, size: int, kind: str, over: str, cost: Callable[[dict[str, Any]], float]) -> float:
    """Return the median over the rounds: both sides of one are of the same minutes."""
    pairs = zip(lines[size, kind], lines[size, over], strict=False)
    return statistics.median(cost(ours) / cost(theirs) for ours, theirs in pairs)


def _middle(row: list[dict[str, Any]], key: str) -> float:
    return statistics.median(float(line[key]) for line in row)


def _shown(name: str, value: float | str, unit: str, target: str) -> Figure:
    return Figure(name, round(value, 3) if isinstance(value, float) else value, unit, target, None)


if __name__ == "__main__":
    sys.exit(main())
