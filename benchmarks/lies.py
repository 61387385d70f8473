# SPDX-License-Identifier: Apache-2.0
"""A lying world: 1,000 runs that are sabotaged, of which none may pass, and 1,000 honest ones, of which all should.

`python benchmarks/lies.py --minutes 30 --workers 4` goes on where it stopped; what was told is kept in
`figures/safety/lying.jsonl`. Lines of other sources do not count.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from figures import Figure, at_least, at_most, exactly

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from lying import runs  # noqa: E402 (beside this file, wherever the tree lies)

RUNS = 1000
_RESULTS = Path("figures") / "safety" / "lying.jsonl"
_ROOMS = ("agent", "controls", "fleet", "gpu", "lease")
# Facts and packages of hosts: no run here asks for them.
_FACTS, _PACKAGES = (ROOT / "chaosgpu" / "agent" / name for name in ("facts", "packages"))
_BATCH = 10
_PYTHON = os.path.realpath(sys.executable)  # where it lies on one machine is nobody's business


def digest() -> str:
    """Return a digest of what these runs go through: what other sources told says nothing about these."""
    total = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (ROOT / "chaosgpu" / room).rglob("*.py")):
        if path.is_relative_to(_FACTS) or path.is_relative_to(_PACKAGES):
            continue
        total.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return total.hexdigest()[:16]


def told(sources: str) -> dict[str, dict[str, Any]]:
    """Return what is known, by run."""
    lines = _RESULTS.read_text(encoding="utf-8").splitlines() if _RESULTS.exists() else []
    found = (json.loads(line) for line in lines)
    return {line["key"]: line for line in found if line["sources"] == sources}


def figures() -> list[Figure]:
    """Return the figures of these sources."""
    lines = list(told(digest()).values())
    honest = [line for line in lines if line["sabotage"] is None]
    lied = [line for line in lines if line["sabotage"] is not None]
    kinds = {(line["sabotage"], line["fault"]) for line in lied}
    return [
        at_least("lying world: sabotaged runs", len(lied), "runs", RUNS),
        Figure("lying world: kinds of sabotage on a fault", len(kinds), "kinds", "", None),
        exactly("lying world: sabotaged runs that passed", sum(_passed(line) for line in lied), "runs", 0),
        exactly("lying world: sabotaged runs with a wrong verdict", sum(not line["right"] for line in lied), "runs", 0),
        at_least("honest world: runs", len(honest), "runs", RUNS),
        at_most("honest world: runs that did not pass", sum(not _passed(line) for line in honest), "runs", 1),
        exactly("honest world: GPUs that were not as before", sum(line["changed"] for line in honest), "runs", 0),
    ]


def _passed(line: dict[str, Any]) -> bool:
    return bool(line["verdict"] == "passed")


def main() -> int:
    """Play what has not been played yet, until the time is over; 1 if a figure does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no new batch after this long")
    parser.add_argument("--workers", type=int, default=4, help="how many runs at once; most of a run is waiting")
    arguments = parser.parse_args()
    until_s = time.monotonic() + 60 * arguments.minutes
    sources = digest()
    known = told(sources)
    pairs = zip(runs.sabotaged(RUNS), runs.honest(RUNS), strict=True)
    left = [lie for pair in pairs for lie in pair if lie.key not in known]
    _RESULTS.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context) as pool, _RESULTS.open("a", encoding="utf-8") as file:
        waiting = iter([left[start : start + _BATCH] for start in range(0, len(left), _BATCH)])
        running = {pool.submit(runs.play_all, batch) for batch in islice(waiting, arguments.workers)}
        while running:  # some runs wait for minutes; nobody waits for them
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for lie, outcome in chain.from_iterable(future.result() for future in done):
                outcome_told = asdict(replace(outcome, reason=outcome.reason.replace(_PYTHON, Path(_PYTHON).name)))
                line = {"key": lie.key, "sources": sources, **asdict(lie), **outcome_told}
                file.write(json.dumps(line) + "\n")
                if not outcome.right:
                    sys.stdout.write(f"WRONG {lie.key}: {outcome.verdict}: {outcome.reason}\n")
            file.flush()
            if time.monotonic() < until_s:
                running |= {pool.submit(runs.play_all, batch) for batch in islice(waiting, len(done))}
    found = figures()
    for figure in found:
        sys.stdout.write(f"{figure.name}: {figure.value} {figure.unit} ({figure.target})\n")
    sys.stdout.write(f"{dict(Counter(line['verdict'] for line in told(sources).values()))}\n")
    return 0 if all(figure.holds is not False for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
