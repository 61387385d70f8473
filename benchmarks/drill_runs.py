# SPDX-License-Identifier: Apache-2.0
"""The two experiments of the first drill, each run in its lab; and what their records say.

`measure` starts this file inside the lab, so that the simulated GPU can be read before and after the run.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import Figure, at_most, exactly

_ROOT = Path(__file__).resolve().parent.parent
_EXPECTED = {"fragile": "deviated", "hardened": "passed"}
# Where the GPU is used while the drill runs, these are another process's, not ours to compare.
_OF_OTHERS = ("memory_by_process",)


def measure() -> list[Figure]:
    """Return the figures of both variants."""
    return [figure for variant in _EXPECTED for figure in _one(variant)]


def _one(variant: str) -> list[Figure]:
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            ["chaosgpu", "lab", "run", "--variant", variant, "--", sys.executable, __file__, variant],
            cwd=folder, capture_output=True, text=True, timeout=300, check=False,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
        wall_s = time.perf_counter() - start
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            done.check_returncode()
        got = json.loads(done.stdout.splitlines()[-1])
        ledger = [json.loads(line) for line in Path(folder, got["run"], "ledger.jsonl").read_text().splitlines()]
        journal = json.loads(Path(folder, got["run"], "journal.json").read_text())
    watched = next(run["output"] for run in journal["run"] if run["activity"]["name"].startswith("watch"))
    active = [line for line in ledger if line["type"] == "lease.active" and line["observed"] and not line.get("again")]
    clean = [line for line in ledger if line["type"] == "lease.clean" and line["restored"]]
    figures = [
        exactly(f"{variant}: verdict", got["verdict"], "", _EXPECTED[variant]),
        at_most(f"{variant}: lab up, run, lab down", wall_s, "s", 60),
        exactly(f"{variant}: lease.active lines with an observed reading", len(active), "", 1),
        exactly(f"{variant}: lease.clean lines with a restored reading", len(clean), "", 1),
        exactly(f"{variant}: simulated GPU fields that differ before and after", got["differing"], "", 0),
        exactly(f"{variant}: health check true while watched", watched["ready_true"], "", watched["samples"]),
        Figure(
            f"{variant}: canary right while watched",
            f"{watched['canary_right']}/{watched['samples']}",
            "",
            "shown",
            None,
        ),
    ]
    if variant == "hardened":
        figures.append(
            exactly("hardened: canary right in every sample", watched["canary_right"], "", watched["samples"])
        )
    return figures


def _inside(variant: str) -> dict[str, Any]:
    from chaosgpu.sim import instance  # noqa: PLC0415 (only inside the lab)

    simulated = instance.open_state(Path(os.environ["CHAOSGPU_SIM_STATE"]))
    before = simulated.settings()
    experiment = _ROOT / "experiments" / "level-1" / f"gpu-memory-leak-{variant}.yaml"
    subprocess.run(
        ["chaos", "--no-version-check", "--no-log-file", "run", str(experiment)],
        check=False, capture_output=True, timeout=200,
    )  # fmt: skip
    after = simulated.settings()
    differing = sum(
        old[field] != new[field]
        for old, new in zip(before, after, strict=True)
        for field in old
        if field not in _OF_OTHERS
    )
    run = Path(".chaosgpu/runs/latest").resolve()
    verdict = json.loads((run / "journal.json").read_text())["chaosgpu"]["verdict"]
    return {"run": str(run.relative_to(Path.cwd())), "verdict": verdict, "differing": differing}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_inside(sys.argv[1])) + "\n")
