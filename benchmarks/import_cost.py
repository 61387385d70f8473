# SPDX-License-Identifier: Apache-2.0
"""What importing the actions adds to an empty `chaos run`: both sides in turn, in fresh processes."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure, at_most

_ROUNDS = 15
_EMPTY = {"title": "empty", "description": "nothing", "method": []}
# The same run after the import that an experiment's validation would do: what it adds is the import alone.
_BARE = "import sys; from chaostoolkit.__main__ import cli; cli(sys.argv[1:])"
_WITH = "import chaosgpu.gpu.actions; " + _BARE


def measure() -> list[Figure]:
    """Return the milliseconds added, as the difference of the medians and of the minima."""
    with TemporaryDirectory() as folder:
        experiment = Path(folder) / "empty.json"
        experiment.write_text(json.dumps(_EMPTY), encoding="utf-8")
        times: dict[str, list[float]] = {_BARE: [], _WITH: []}
        for _ in range(_ROUNDS):
            for code, measured in times.items():
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", code, "--no-version-check", "--no-log-file", "run", str(experiment)],
                    cwd=folder, check=True, capture_output=True, timeout=60,
                )  # fmt: skip
                measured.append((time.perf_counter() - start) * 1000)
    added_median = statistics.median(times[_WITH]) - statistics.median(times[_BARE])
    added_minimum = min(times[_WITH]) - min(times[_BARE])
    return [
        Figure("empty chaos run, median", round(statistics.median(times[_BARE]), 1), "ms", "shown", None),
        at_most("import chaosgpu.gpu.actions adds (difference of medians)", added_median, "ms", 30),
        at_most("import chaosgpu.gpu.actions adds (difference of minima)", added_minimum, "ms", 30),
    ]
