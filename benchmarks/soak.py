# SPDX-License-Identifier: Apache-2.0
"""Random kills on test hosts: `python benchmarks/soak.py --minutes 20`, which goes on where the last session stopped.

Needs root (docs/bench.md). Rounds are kept in `figures/safety/soak.jsonl`; another agent's do not count.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import safety_runs
from figures import Figure, at_most, exactly, not_measured

sys.path[:0] = [str(safety_runs.ROOT), str(safety_runs.ROOT / "tests")]

from bench import soak  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.hosts import BENCHES, Bench  # noqa: E402
from bench.plan import me  # noqa: E402

__all__ = ["figures"]

_FILE = Path("figures") / "safety" / "soak.jsonl"


def main() -> int:
    """Play rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="begin no new round after this long")
    until_s = time.time() + 60 * parser.parse_args().minutes
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max((line["number"] for line in _lines()), default=-1)
    bench = Bench(BENCHES / f"soak-{me().pid}")
    bench.up(1)
    try:
        soak.prepare(bench.hosts[0])
        while time.time() < until_s:
            done = soak.play(bench, bench.hosts[0], number)
            with _FILE.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"agent": safety_runs.agent_digest(), **done.__dict__}) + "\n")
            print(done, flush=True)
            if done.residue:
                bench.hosts[0].agent("undo", {"all": True})
            number += 1
    finally:
        bench.down()
    return 0


def _lines() -> list[dict[str, Any]]:
    agent = safety_runs.agent_digest()
    texts = _FILE.read_text(encoding="utf-8").splitlines() if _FILE.exists() else []
    return [line for line in map(json.loads, texts) if line["agent"] == agent]


def figures() -> list[Figure]:
    """Return what the rounds so far have shown."""
    lines = _lines()
    kills = Counter(kill for line in lines for kill in line["kills"])
    total = sum(kills.values())
    if not total:
        return [not_measured("soak: kills with residue", "kills", "= 0", "no round was played on this agent")]
    # Nothing seen in n tries: with 95 % certainty it is at most three in n (the rule of three).
    return [
        Figure(
            "soak: kills", total, "kills", ", ".join(f"{count} {kind}" for kind, count in kills.most_common()), None
        ),
        Figure(
            "soak: leases", 2 * len(lines), "leases", f"{sum(line['applied'] for line in lines)} became active", None
        ),
        exactly("soak: rounds with residue", sum(bool(line["residue"]) for line in lines), "rounds", 0),
        Figure("soak: residue a kill, at most (95 %)", round(300 / total, 2), "%", "rule of three", None),
        at_most(
            "soak: clean after the last deadline, latest", max(line["late_s"] for line in lines), "s", soak.BOUND_S
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
