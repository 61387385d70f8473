# SPDX-License-Identifier: Apache-2.0
"""`make figures-safety`: kill the agent at every call that changes something, and see what the host is left with.

Goes on where the last session stopped: `--minutes` ends one early, `--report` only counts. What was struck is kept in
`figures/safety/FAULT.jsonl`, and counts as long as the files that the fault's run depends on say the same.
"""

import argparse
import sys
import time
from collections import Counter

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
from safety_store import Line, all_lines

_POINTS, _DOUBLES = 3000, 2000
_BOUND_S = 5.0
PHASES = ("arm", "inject", "renew", "verify", "revert", "boot")


def main() -> int:
    """Strike, write `figures/safety.json`, print the table; 1 if a target does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=90.0, help="stop planning new points after this long")
    parser.add_argument("--workers", type=int, default=2, help="processor cores to use")
    parser.add_argument("--report", action="store_true", help="count what is there, strike nothing")
    arguments = parser.parse_args()
    if not arguments.report:
        safety_runs.run(arguments.workers, time.time() + 60 * arguments.minutes, _DOUBLES)
    kept = safety_runs.stores()
    struck = [fault for fault, store in kept.items() if store.lines]
    return publish(
        "safety",
        [
            *figures(all_lines(kept.values()), struck),
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


def figures(lines: list[Line], struck: list[str]) -> list[Figure]:
    """Return the figures of these lines."""
    singles = [line for line in lines if not line.double]
    doubles = [line for line in lines if line.double]
    late = sorted(line.late_ms / 1000 for line in lines if line.hit and not line.residue)
    phases = Counter(phase_of(line) for line in singles if line.hit)
    found = [
        at_least("crash points struck", sum(line.hit for line in singles), "points", _POINTS),
        *(at_least(f"  of these: {phase}", phases[phase], "points", 1) for phase in PHASES),
        exactly("faults struck", len(struck), "faults", len(safety_runs.FAULTS)),
        at_least("double crashes", sum(line.hit for line in doubles), "pairs", _DOUBLES),
        _share("planned kills that hit", lines),
        exactly("points with residue", sum(bool(line.residue) for line in singles), "points", 0),
        exactly("double crashes with residue", sum(bool(line.residue) for line in doubles), "pairs", 0),
    ]
    if late:
        found.append(at_most("clean after the deadline, latest", late[-1], "s", _BOUND_S))
        found.append(at_most("clean after the deadline, 99 of 100", late[len(late) * 99 // 100 - 1], "s", 2.0))
    return [
        *found,
        Figure("kills while the fault was in force", _count(lines, "f"), "points", "", None),
        Figure("points that needed the sweep", _count(lines, "s"), "points", "", None),
        Figure("points that left a half-written file in their lease's folder", _count(lines, "l"), "points", "", None),
        Figure("kills planned again", sum(line.tries - 1 for line in lines), "kills", "", None),
    ]


def phase_of(line: Line) -> str:
    """Return the phase of the issue that a point lies in: an apply arms until the lease is armed, and then injects."""
    phase = line.name.partition("/")[0]
    if phase == "apply":
        return "inject" if "a" in line.letters else "arm"
    return phase if phase in PHASES else "revert"


def _count(lines: list[Line], letter: str) -> int:
    return sum(letter in line.letters for line in lines)


def _share(name: str, lines: list[Line]) -> Figure:
    if not lines:
        return not_measured(name, "%", "= 100", "nothing was struck")
    return exactly(name, round(100 * sum(line.hit for line in lines) / len(lines), 3), "%", 100.0)


if __name__ == "__main__":
    sys.exit(main())
