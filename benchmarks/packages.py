# SPDX-License-Identifier: Apache-2.0
"""Random walks of driver packages on test hosts: `python benchmarks/packages.py`; it goes on where it stopped.

Needs root (docs/bench.md). Walks are kept in `figures/packages/walks.jsonl`; another agent's do not count.
"""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from threading import Lock, Thread

import package_engine
import safety_runs
from figures import Figure, at_least, exactly, not_measured, publish

sys.path[:0] = [str(safety_runs.ROOT), str(safety_runs.ROOT / "tests")]

from bench import package_walks, packages  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.files import AGENT  # noqa: E402 (as above)
from bench.hosts import BENCHES, Bench, Host  # noqa: E402 (as above)
from bench.plan import me  # noqa: E402 (as above)

__all__ = ["figures"]

_FILE = Path("figures") / "packages" / "walks.jsonl"
_GOAL = 100
_HOSTS = 8
_LOCK = Lock()


def main() -> int:
    """Walk until there are enough, or the time is over; then write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=_GOAL, help="how many in all, those of earlier sessions included")
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no new walk after this long")
    parser.add_argument("--hosts", type=int, default=_HOSTS, help="on how many hosts at once")
    asked = parser.parse_args()
    until_s = time.time() + 60 * asked.minutes
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    done = {line["number"] for line in package_engine.lines(_FILE)}
    waiting = [number for number in range(asked.walks) if number not in done]
    if waiting:
        _walk_all(waiting, until_s, asked.hosts)
    return publish("packages", figures())


def _walk_all(waiting: list[int], until_s: float, count: int) -> None:
    bench, debs = Bench(BENCHES / f"packages-{me().pid}"), packages.repository()
    bench.up(count)
    try:
        walkers = [Thread(target=_walk, args=(host, debs, waiting, until_s)) for host in bench.hosts]
        for walker in walkers:
            walker.start()
        for walker in walkers:
            walker.join()
    finally:
        bench.down()
        shutil.rmtree(debs)


def _walk(host: Host, debs: Path, waiting: list[int], until_s: float) -> None:
    host.run([AGENT, "install-units"], check=True)
    packages.set_up(host, debs)
    while waiting and time.time() < until_s:
        with _LOCK:
            number = waiting.pop(0)
        walked = package_walks.play(host, number)
        with _LOCK, _FILE.open("a", encoding="utf-8") as file:
            line = {"agent": package_engine.digest(), "host": host.name, **asdict(walked)}
            file.write(json.dumps(line) + "\n")
        print(walked, flush=True)
        if not walked.well:  # the next walk begins on a host that is as it should be
            host.agent("undo", {"all": True}, timeout_s=packages.APPLY_S)
            packages.remove(host)
            packages.set_up(host, debs)


def figures() -> list[Figure]:
    """Return what the walks so far have shown."""
    lines = package_engine.lines(_FILE)
    if not lines:
        return [not_measured("driver packages: random walks", "walks", f">= {_GOAL}", "none was walked on this agent")]
    ways = Counter(line["steps"][1] for line in lines)
    ends = Counter(line["steps"][-1] for line in lines)
    states = Counter(row.partition(":")[0] for line in lines for row in line["states"])
    bad = sum(line["ended"] != "clean" or bool(line["difference"]) for line in lines)
    took = sorted(line["took_s"] for line in lines)
    return [
        at_least("driver packages: random walks", len(lines), "walks", _GOAL),
        at_least("driver packages: hosts walked on", len({line["host"] for line in lines}), "hosts", _HOSTS),
        exactly("driver packages: walks that left a difference", bad, "walks", 0),
        Figure("driver packages: changes", len(lines), "walks", _words(ways), None),
        Figure("driver packages: ended by", len(lines), "walks", _words(ends), None),
        Figure("driver packages: packages caught half-done", sum(states.values()), "packages", _words(states), None),
        Figure("driver packages: a walk, median", took[len(took) // 2], "s", "", None),
    ]


def _words(counted: "Counter[str]") -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counted.most_common())


if __name__ == "__main__":
    sys.exit(main())
