# SPDX-License-Identifier: Apache-2.0
"""`make figures-safety`: kill the agent at every call that changes something, and see what the host is left with.

Goes on where the last session stopped: `--minutes` ends one early, `--report` only counts. What was struck is kept in
`figures/safety/FAULT.jsonl`, and counts as long as the files that the fault's run depends on say the same.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping

import guards
import latency
import lies
import losses
import mutation
import residue
import safety_runs
import soak
import vm_figures
from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.faults.selfdrill import FAULTS as HARMLESS
from chaosgpu.selfdrill.host import BOUND_S
from crash.unit_victims import PACKAGES_BOUND_S, SLOW_BOUND_S, bound_s
from figures import Figure, at_least, at_most, exactly, not_measured, publish
from safety_store import Line, Store, all_lines

_POINTS, _DOUBLES, _FAILS = 3000, 2000, 60
PHASES = ("arm", "inject", "renew", "verify", "revert", "boot")


def main() -> int:
    """Strike, write `figures/safety.json`, print the table; 1 if a target does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=90.0, help="stop planning new points after this long")
    parser.add_argument("--workers", type=int, default=2, help="processor cores to use")
    parser.add_argument("--faults", default="*", help="which faults to strike: names or patterns, with commas between")
    parser.add_argument("--points", type=int, help="how many single crashes of each fault, where not all")
    parser.add_argument("--report", action="store_true", help="count what is there, strike nothing")
    arguments = parser.parse_args()
    if not arguments.report:
        wanted = safety_runs.Wanted(_DOUBLES, _FAILS, arguments.points, arguments.faults.split(","))
        safety_runs.run(arguments.workers, time.time() + 60 * arguments.minutes, wanted)
    return publish(
        "safety",
        [
            *figures(safety_runs.stores()),
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


def figures(kept: Mapping[str, Store]) -> list[Figure]:
    """Return the figures of what was struck on each fault."""
    lines = all_lines(kept.values())
    kills = [line for line in lines if not line.fails]
    singles = [line for line in kills if not line.double]
    doubles = [line for line in kills if line.double]
    phases = Counter(phase_of(line) for line in singles if line.hit)
    struck = [fault for fault, store in kept.items() if store.lines]
    return [
        at_least("crash points struck", sum(line.hit for line in singles), "points", _POINTS),
        *(at_least(f"  of these: {phase}", phases[phase], "points", 1) for phase in PHASES),
        # All that there are, so that a new fault nobody strikes shows here.
        exactly("faults struck", len(struck), "faults", len({*REGISTRY, *HARMLESS})),
        at_least("double crashes", sum(line.hit for line in doubles), "pairs", _DOUBLES),
        _share("planned kills that hit", kills),
        exactly("points with residue", sum(bool(line.residue) for line in singles), "points", 0),
        exactly("double crashes with residue", sum(bool(line.residue) for line in doubles), "pairs", 0),
        *_failing(kept),
        *_late(kept, "clean after the deadline", BOUND_S),
        *_late(kept, "  where a service has to start anew", SLOW_BOUND_S),
        *_late(kept, "  where packages have to go back", PACKAGES_BOUND_S),
        Figure("kills while the fault was in force", _count(kills, "f"), "points", "", None),
        Figure("points that needed the sweep", _count(kills, "s"), "points", "", None),
        Figure("points that left a half-written file in their lease's folder", _count(lines, "l"), "points", "", None),
        Figure("kills planned again", sum(line.tries - 1 for line in kills), "kills", "", None),
    ]


def _failing(kept: Mapping[str, Store]) -> list[Figure]:
    """Count calls that fail instead of a process that dies: drawn, made to fail, and with what left."""
    planned = sum(len(store.failing) for store in kept.values())
    struck = [line for line in all_lines(kept.values()) if line.fails]
    return [
        at_least("calls planned to fail", planned, "points", _FAILS * len(safety_runs.FAULTS)),
        exactly("  of these failed as planned", sum(line.hit for line in struck), "points", planned),
        exactly("  with residue, or told what was not so", sum(bool(line.residue) for line in struck), "points", 0),
    ]


def _late(kept: Mapping[str, Store], name: str, most_s: float) -> list[Figure]:
    of_these = [store for fault, store in kept.items() if bound_s(fault) == most_s]
    late = sorted(line.late_ms / 1000 for line in all_lines(of_these) if line.hit and not line.residue)
    if not late:
        return [not_measured(f"{name}, latest", "s", f"<= {most_s:g}", "nothing was struck")]
    found = [at_most(f"{name}, latest", late[-1], "s", most_s)]
    if most_s == BOUND_S:
        found.append(at_most(f"{name}, 99 of 100", late[len(late) * 99 // 100 - 1], "s", 2.0))
    return found


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
