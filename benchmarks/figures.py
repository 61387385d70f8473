# SPDX-License-Identifier: Apache-2.0
"""A figure: a name, a value with its unit, a target, and whether it holds. Written as JSON and printed as a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "at_least", "at_most", "exactly", "not_measured", "publish"]


@dataclass(frozen=True)
class Figure:
    """One line of `figures/AREA.json`. `holds` is None where there is no target: a ratio that is only shown."""

    name: str
    value: float | str | None
    unit: str
    target: str
    holds: bool | None


def at_most(name: str, value: float, unit: str, limit: float) -> Figure:
    """Build a figure that holds up to a limit."""
    return Figure(name, round(value, 3), unit, f"<= {limit:g}", value <= limit)


def at_least(name: str, value: float, unit: str, limit: float) -> Figure:
    """Build a figure that holds from a limit on."""
    return Figure(name, round(value, 3), unit, f">= {limit:g}", value >= limit)


def exactly(name: str, value: float | str, unit: str, wanted: float | str) -> Figure:
    """Build a figure that holds at one value only."""
    return Figure(name, value, unit, f"= {wanted}", value == wanted)


def not_measured(name: str, unit: str, target: str, why: str) -> Figure:
    """Build a figure that could not be measured: it does not hold."""
    return Figure(name, f"not measured: {why}", unit, target, holds=False)


def publish(area: str, figures: Sequence[Figure], folder: Path = Path("figures")) -> int:
    """Write `figures/AREA.json`, print the table, and return 1 if a target does not hold."""
    path = folder / f"{area}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")
    table = Table("figure", "value", "unit", "target", "holds", title=f"figures-{area}")
    words = {True: "yes", False: "NO", None: "-"}
    for figure in figures:
        table.add_row(figure.name, str(figure.value), figure.unit, figure.target, words[figure.holds])
    Console().print(table)
    return 1 if any(figure.holds is False for figure in figures) else 0
