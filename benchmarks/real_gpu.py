# SPDX-License-Identifier: Apache-2.0
"""`benchmarks/real_gpu.py FOLDER`: what `scripts/gpu-test.sh` noted there, as a table and as `gpu.json` there.

With `--keep` they become the set of that card in `figures/gpu.json`, beside those of other cards: of a real card only,
since simulated ones prove nothing about it.
"""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from figures import Figure, publish

__all__ = ["figures", "keep"]

_ONE_CARD = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}( at [0-9A-F:.]+)?")


def figures(noted: Path) -> list[Figure]:
    """Return each figure in its order; the last value of a name counts."""
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
    last = {line["name"]: Figure(**line) for line in map(json.loads, lines)}
    return [*last.values()]


def keep(folder: Path, found: list[Figure], figures_folder: Path) -> int:
    """Put them into the place of that card's earlier ones, each under the card's name, without what names one card."""
    facts = json.loads((folder / "host.json").read_text(encoding="utf-8"))["facts"]
    card = str(facts["gpus"][0]["name"]).removeprefix("NVIDIA ")
    kept = figures_folder / "gpu.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    others = [Figure(**row) for row in before if not row["name"].startswith(f"{card}: ")]
    every = [*others, *(_of(card, figure) for figure in found)]
    return publish("gpu", sorted(every, key=lambda figure: figure.name.partition(": ")[0]), figures_folder)


def _of(card: str, figure: Figure) -> Figure:
    value = _ONE_CARD.sub("GPU-…", figure.value) if isinstance(figure.value, str) else figure.value
    return replace(figure, name=f"{card}: {figure.name}", value=value)


def main(folder: Path, *, kept: bool) -> int:
    """Write and print them; 1 if a target does not hold, or if there is none at all."""
    if kept and os.environ.get("CHAOSGPU_SIM_STATE"):
        sys.stdout.write("These GPUs are simulated, so figures/gpu.json stays as it is.\n")
        return 1
    found = figures(folder / "figures.jsonl")
    if not found:
        sys.stdout.write(f"{folder} holds no figures: run scripts/gpu-test.sh first.\n")
        return 1
    return keep(folder, found, Path("figures")) if kept else publish("gpu", found, folder)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), kept="--keep" in sys.argv[2:]))
