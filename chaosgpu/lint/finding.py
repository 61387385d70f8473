# SPDX-License-Identifier: Apache-2.0
"""One thing that is wrong with an experiment: how bad, where, what, and what to do."""

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Finding", "Level"]

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """`error`: the run will not do what the file says. `warning`: it may not.

    `pointer` is a JSON pointer into the experiment, `line` counts from 1.
    """

    level: Level
    rule: str
    pointer: str
    line: int | None
    message: str
    advice: str

    def as_json(self) -> dict[str, str | int | None]:
        """Return the finding as plain JSON."""
        return asdict(self)
