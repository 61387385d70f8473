# SPDX-License-Identifier: Apache-2.0
"""One finding, and all of a host's."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from chaosgpu.cuda.compatibility import Compatibility
from chaosgpu.cuda.facts import Facts

__all__ = ["Finding", "Level", "findings"]


class Level(StrEnum):
    """How bad it is, the worst first."""

    BREAKS = "breaks"
    RISK = "risk"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What does not go together, which values say so, and what that breaks, with the source."""

    host: str
    rule: str
    level: Level
    keys: tuple[str, ...]
    what: str
    source: str


def findings(facts: Facts, data: Compatibility) -> list[Finding]:
    """Apply every rule to a host's facts, the worst first."""
    found = list(_all(facts, data))
    return sorted(found, key=lambda one: list(Level).index(one.level))


def _all(facts: Facts, data: Compatibility) -> Iterator[Finding]:
    from chaosgpu.cuda.rules import containers, driver, engines, environments, packages, services  # noqa: PLC0415 (a cycle)

    for rules in (driver, packages, services, containers, environments, engines):
        yield from rules.judge(facts, data)
