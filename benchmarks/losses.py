# SPDX-License-Identifier: Apache-2.0
"""A controller lost in every phase of a run: `python benchmarks/losses.py`, which goes on where it stopped.

Killed, stopped for three TTL and continued, or gone with all that it has started; over SSH, on test hosts (root, see
docs/bench.md). Kept in `figures/safety/losses.jsonl`; what another agent survived does not count.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safety_runs
from figures import Figure, at_least, at_most, exactly, not_measured

sys.path[:0] = [str(safety_runs.ROOT), str(safety_runs.ROOT / "tests")]

from bench.controllers import BOUND_S, TTL_S, StruckRun, all_clean_s, residue  # noqa: E402 (in the tests' folder)
from bench.hosts import BENCHES, Bench, Host  # noqa: E402
from bench.plan import me  # noqa: E402
from bench.striking import BLOWS, PHASES  # noqa: E402
from bench.waiting import wait_until  # noqa: E402

__all__ = ["figures"]

_FILE = Path("figures") / "safety" / "losses.jsonl"
_FAULTS = ("gpu.power.cap", "gpu.memory.fill")
_CASES = [(phase, blow, fault) for fault in _FAULTS for phase in PHASES for blow in BLOWS]
# From here on the fault has been undone and judged in force to the end, so the run may say so.
_UNDONE = ("before undo", "during undo", "undo done and not answered", "after the rollbacks")


def main() -> int:
    """Strike what has not been struck yet, four runs at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="begin nothing new after this long")
    until_s = time.time() + 60 * parser.parse_args().minutes
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench(BENCHES / f"losses-{me().pid}")
    bench.up(2)
    try:
        while time.time() < until_s and (left := [case for case in _CASES if case not in _lines()]):
            with TemporaryDirectory() as folder, _FILE.open("a", encoding="utf-8") as file:
                for line in _strike(bench, left[:4], Path(folder)):
                    file.write(json.dumps({"agent": safety_runs.agent_digest(), **line}) + "\n")
                    print(line, flush=True)
    finally:
        bench.down()
    return 0


def _strike(bench: Bench, cases: list[tuple[str, str, str]], folder: Path) -> list[dict[str, Any]]:
    places = [(host, gpu) for host in bench.hosts for gpu in (0, 1)]
    runs = [
        StruckRun(bench, host, gpu, phase, blow, folder / f"{host.name}-{gpu}", fault).start()
        for (host, gpu), (phase, blow, fault) in zip(places, cases, strict=False)
    ]
    late = all_clean_s(runs)
    verdicts = [_verdict(run) for run in runs]
    left = {host.name: _left(host) for host in bench.hosts}
    return [
        {"phase": run.phase, "blow": run.blow, "fault": run.fault, "late_s": round(late_s, 2), "verdict": verdict,
         "residue": left[run.host.name]}
        for run, late_s, verdict in zip(runs, late, verdicts, strict=True)
    ]  # fmt: skip


def _verdict(run: StruckRun) -> str:
    if run.blow == "stop":
        return run.go_on().verdict[0]
    run.bury()
    return ""


def _left(host: Host) -> list[str]:
    try:
        wait_until(lambda: residue(host) == [])
    except AssertionError:
        return residue(host)
    return []


def _lines() -> dict[tuple[str, str, str], dict[str, Any]]:
    agent = safety_runs.agent_digest()
    texts = _FILE.read_text(encoding="utf-8").splitlines() if _FILE.exists() else []
    lines = [line for line in map(json.loads, texts) if line["agent"] == agent]
    return {(line["phase"], line["blow"], line["fault"]): line for line in lines}


def figures() -> list[Figure]:
    """Return what was seen so far."""
    lines = list(_lines().values())
    if not lines:
        return [not_measured("controller lost: runs with residue", "runs", "= 0", "no run was struck on this agent")]
    green = [one for one in lines if one["verdict"] == "passed" and one["phase"] not in _UNDONE]
    return [
        at_least("controller lost: runs struck, each in another way", len(lines), "runs", len(_CASES)),
        at_least("controller lost: phases", len({line["phase"] for line in lines}), "phases", len(PHASES)),
        exactly("controller lost: runs with residue", sum(bool(line["residue"]) for line in lines), "runs", 0),
        at_most(
            "controller lost: fault last seen after the loss", max(one["late_s"] for one in lines), "s", TTL_S + BOUND_S
        ),
        exactly("controller lost: stopped runs that passed before their undo", len(green), "runs", 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
