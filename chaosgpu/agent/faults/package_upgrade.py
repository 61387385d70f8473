# SPDX-License-Identifier: Apache-2.0
"""What an upgrade that nobody watches would do to some packages under the host's pins and holds, and what they stop.

apt says it: what `apt-get upgrade` would move as the host is, without the holds, and without holds and pins.
"""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.packages.facts import Facts
from chaosgpu.agent.packages.plan import WITHIN_S, parse_simulation
from chaosgpu.agent.packages.policy import NO_PINS
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonObject

__all__ = ["Kept", "Upgrade", "upgrade"]

_UNHELD = ("--ignore-hold", "--allow-change-held-packages")
_UPGRADE = ("-q", "-s", "-y", "--no-install-recommends", "--with-new-pkgs")


@dataclass(frozen=True)
class Kept:
    """One package that stays though there is a newer one, and what keeps it."""

    name: str
    installed: str
    newest: str
    why: Tuple[str, ...]

    def to_json(self) -> JsonObject:
        """Return it for people and records."""
        return {"package": self.name, "installed": self.installed, "newest": self.newest, "why": [*self.why]}


@dataclass(frozen=True)
class Upgrade:
    """`moves`: each of the packages that would be upgraded, with its version then; `every`: all that would move."""

    moves: Dict[str, str]
    every: Dict[str, str]
    kept: Tuple[Kept, ...]


def upgrade(tools: Tools, facts: Facts, names: Sequence[str]) -> Upgrade:
    """Ask apt; nothing is changed, and the host's lists of packages are not refreshed."""
    absent = [name for name in names if facts.there(name) is None]
    if absent:
        raise Refused(f"{', '.join(absent)} is not installed on this host, so no upgrade would touch it.")
    guarded = _moves(tools)
    unheld = _moves(tools, *_UNHELD)
    free = _moves(tools, *_UNHELD, *NO_PINS)
    held = facts.held()
    kept = []
    for name in sorted(free.keys() & set(names)):
        if name not in guarded:
            why: List[str] = ["it is on hold"] if name in held else []
            why += [] if name in unheld else ["a pin chooses another version"]
            one = facts.packages[name]
            kept.append(Kept(name, one.version, free[name], tuple(why) or ("what it needs is on hold",)))
    return Upgrade({name: guarded[name] for name in names if name in guarded}, guarded, tuple(kept))


def _moves(tools: Tools, *options: str) -> Dict[str, str]:
    said = tools.run(tools.apt("apt-get", *options, *_UPGRADE, "upgrade"), WITHIN_S)
    if not said.well:
        raise Refused(
            f"apt cannot say what an upgrade would do on this host, and nothing was changed. {said.sentence()}."
        )
    return {name: after for name, (before, after) in parse_simulation(said.out).items() if after not in (None, before)}
