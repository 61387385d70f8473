# SPDX-License-Identifier: Apache-2.0
"""Write `docs/figures.md` from `figures/*.json`: the documentation quotes these files and nothing else."""

import json
import sys
from pathlib import Path

__all__ = ["page"]

_WORDS = {True: "yes", False: "**no**", None: ""}
_COMMANDS = {"gpu": "gpu-test"}  # where it is another than figures-AREA
_HEAD = """# Measured figures

Written by `python benchmarks/page.py` from `figures/*.json`, which `make figures-AREA` writes. Times are of one machine
and one run; what carries over to yours are the ratios, whose two sides were measured in turn in that run. A figure
without a target is only shown.
"""


def page(folder: Path) -> str:
    """Return the page for the figures in a folder."""
    parts = [_HEAD]
    for source in sorted(folder.glob("*.json")):
        rows = ["| figure | value | unit | target | holds |", "|---|---|---|---|---|"]
        for figure in json.loads(source.read_text(encoding="utf-8")):
            cells = [*(str(figure[key]) for key in ("name", "value", "unit", "target")), _WORDS[figure["holds"]]]
            rows.append(f"| {' | '.join(cells)} |")
        command = _COMMANDS.get(source.stem, f"figures-{source.stem}")
        parts.append(f"## {source.stem} (`make {command}`)\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    Path("docs/figures.md").write_text(page(Path("figures")), encoding="utf-8")
    sys.stdout.write("wrote docs/figures.md\n")
