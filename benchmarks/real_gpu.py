# SPDX-License-Identifier: Apache-2.0
"""`benchmarks/real_gpu.py FOLDER`: what `scripts/gpu-test.sh` noted there, as a table and as `gpu.json` there.

With `--keep` they become `figures/gpu.json`: of a real card only, since simulated ones prove nothing about it.
"""

import json
import os
import sys
from pathlib import Path

from figures import Figure, publish

__all__ = ["figures"]


def figures(noted: Path) -> list[Figure]:
    """Return each figure in its order; the last value of a name counts."""
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
    last = {line["name"]: Figure(**line) for line in map(json.loads, lines)}
    return [*last.values()]


def main(folder: Path, *, keep: bool) -> int:
    """Write and print them; 1 if a target does not hold, or if there is none at all."""
    if keep and os.environ.get("CHAOSGPU_SIM_STATE"):
        sys.stdout.write("These GPUs are simulated, so figures/gpu.json stays as it is.\n")
        return 1
    found = figures(folder / "figures.jsonl")
    if not found:
        sys.stdout.write(f"{folder} holds no figures: run scripts/gpu-test.sh first.\n")
        return 1
    return publish("gpu", found, Path("figures") if keep else folder)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), keep="--keep" in sys.argv[2:]))
