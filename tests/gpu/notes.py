# SPDX-License-Identifier: Apache-2.0
"""What a card showed, line by line, for `figures/gpu.json`, and documents beside it, in $CHAOSGPU_GPU_OUT."""

import json
import os
from pathlib import Path

__all__ = ["at_least", "at_most", "equals", "keep", "shown"]


def _note(name: str, value: float | str, unit: str, target: str, *, holds: bool | None) -> None:
    line = {"name": name, "value": value, "unit": unit, "target": target, "holds": holds}
    folder = os.environ.get("CHAOSGPU_GPU_OUT")
    if folder:
        with (Path(folder) / "figures.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def shown(name: str, value: float | str, unit: str = "") -> None:
    """Keep a figure without a target."""
    _note(name, round(value, 3) if isinstance(value, float) else value, unit, "shown", holds=None)


def at_most(name: str, value: float, unit: str, limit: float) -> None:
    """Keep a figure that holds up to a limit, and fail where it does not."""
    _note(name, round(value, 3), unit, f"<= {limit:g}", holds=value <= limit)
    assert value <= limit, f"{name}: {value:g} {unit}, not at most {limit:g}"


def at_least(name: str, value: float, unit: str, limit: float) -> None:
    """Keep a figure that holds from a limit on, and fail where it does not."""
    _note(name, round(value, 3), unit, f">= {limit:g}", holds=value >= limit)
    assert value >= limit, f"{name}: {value:g} {unit}, not at least {limit:g}"


def equals(name: str, value: float | str, wanted: float | str, unit: str = "") -> None:
    """Keep a figure that holds at one value only, and fail elsewhere."""
    _note(name, value, unit, f"= {wanted}", holds=value == wanted)
    assert value == wanted, f"{name}: {value} {unit}, not {wanted}"


def keep(name: str, document: object) -> None:
    """Keep a document as a part of `host.json`, which grows part by part."""
    folder = os.environ.get("CHAOSGPU_GPU_OUT")
    if folder:
        path = Path(folder) / "host.json"
        whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**whole, name: document}, indent=1, default=str) + "\n", encoding="utf-8")
