# SPDX-License-Identifier: Apache-2.0
"""`make figures-safety`: kill the agent at every call that changes something, and see what the host is left with.

Goes on where the last session stopped: `--minutes` ends one early, `--report` only counts. What was struck is kept in
`figures/safety/points.jsonl`; lines of another agent's sources do not count.
"""

import argparse
import sys
import time
from typing import Any

import guards
import latency
import lies
import losses
import mutation
import residue
import safety_runs
import soak
import vm_figures
from figures import Figure, at_least, at_most, exactly, not_measured, publish

_POINTS, _DOUBLES = 3000, 2000
_BOUND_S = 5.0


def main() -> int:
    """Strike, write `figures/safety.json`, print the table; 1 if a target does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=90.0, help="stop planning new points after this long")
    parser.add_argument("--workers", type=int, default=2, help="how many hosts are struck at once")
    parser.add_argument("--report", action="store_true", help="count what is there, strike nothing")
    arguments = parser.parse_args()
    agent = safety_runs.agent_digest()
    if not arguments.report:
        safety_runs.run(agent, arguments.workers, time.time() + 60 * arguments.minutes, _DOUBLES)
    lines = list(safety_runs.results(agent).values())
    return publish(
        "safety",
        [
            *figures(lines),
            *residue.figures(),
            *guards.figures(),
            *lies.figures(),
            *mutation.figures(),
            *latency.figures(),
            *losses.figures(),
            *soak.figures(),
            *vm_figures.figures(),
        ],
    )


def figures(lines: list[dict[str, Any]]) -> list[Figure]:
    """Return the figures of these lines."""
    singles = [line for line in lines if not line["double"]]
    doubles = [line for line in lines if line["double"]]
    late = sorted(line["late_s"] for line in lines if line["hit"] and not line["residue"])
    found = [
        at_least("crash points struck", sum(line["hit"] for line in singles), "points", _POINTS),
        exactly("faults struck", len({line["key"].split("/")[0] for line in singles}), "faults", _faults()),
        at_least("double crashes", sum(line["hit"] for line in doubles), "pairs", _DOUBLES),
        _share("planned kills that hit", lines),
        exactly("points with residue", sum(bool(line["residue"]) for line in singles), "points", 0),
        exactly("double crashes with residue", sum(bool(line["residue"]) for line in doubles), "pairs", 0),
    ]
    if late:
        found.append(at_most("clean after the deadline, latest", late[-1], "s", _BOUND_S))
        found.append(at_most("clean after the deadline, 99 of 100", late[len(late) * 99 // 100 - 1], "s", 2.0))
    in_force = sum(line["in_force"] for line in lines)
    swept = sum(line["swept"] for line in lines)
    litter = sum(bool(line["litter"]) for line in lines)
    return [
        *found,
        Figure("kills while the fault was in force", in_force, "points", "", None),
        Figure("points that needed the sweep", swept, "points", "", None),
        Figure("points that left a half-written file in their lease's folder", litter, "points", "", None),
        Figure("kills planned again", sum(line["tries"] - 1 for line in lines), "kills", "", None),
    ]


def _share(name: str, lines: list[dict[str, Any]]) -> Figure:
    if not lines:
        return not_measured(name, "%", "= 100", "nothing was struck")
    return exactly(name, round(100 * sum(line["hit"] for line in lines) / len(lines), 3), "%", 100.0)


def _faults() -> int:
    return len(safety_runs.FAULTS)


if __name__ == "__main__":
    sys.exit(main())
