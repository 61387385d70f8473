# SPDX-License-Identifier: Apache-2.0
"""Our own leases as their records say it: what a live one holds is no residue while it lives."""

import os
from dataclasses import dataclass
from typing import Dict, Iterable, Optional, Set

from chaosgpu.agent.clock import Boot, Clock
from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.lock import held
from chaosgpu.agent.record import ENDED, State
from chaosgpu.agent.values import JsonValue

__all__ = ["Known", "Leases", "locked"]

# The promise: what a lease holds is put back this long after its deadline. Until then somebody is at it.
_GRACE_S = 5.0


@dataclass(frozen=True)
class Known:
    """One lease: where its record is, what that says, and whether the lease is in force or being ended."""

    lease: str
    folder: LeaseFolder
    state: Optional[State]  # None: a folder without a record
    applied: bool  # whether the one who applies it lives
    kept: bool  # whether its keeper lives
    live: bool

    @property
    def ended(self) -> bool:
        """Tell whether it has left nothing to undo."""
        return self.state is not None and self.state.state in ENDED


class Leases:
    """The leases of a state root, each read once; those of another root are read when a process or claim names one."""

    def __init__(self, home: Home, clock: Clock, boot: Boot) -> None:
        self.home, self._clock, self._boot = home, clock, boot
        self._known: Dict[str, Known] = {}

    def all(self) -> Iterable[Known]:
        """Return every lease of this state root."""
        return [self.of(self.home.folder(lease)) for lease in self.home.lease_ids()]

    def live(self) -> Iterable[Known]:
        """Return those that are in force or being ended."""
        return [known for known in self.all() if known.live]

    def of(self, path: str) -> Known:
        """Return the lease of a folder, whichever state root it is in."""
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def hold(self, resource: str, name: str, part: str = "") -> bool:
        """Tell whether a live lease holds kind:name:part, or kind:name where there is no part."""
        for known in self.live():
            for claim in known.state.claims if known.state else ():
                words = claim.split(":")
                if words[0] == resource and words[1].split("@")[0] == name and (not part or part in words[2:]):
                    return True
        return False

    def pids(self) -> Set[int]:
        """Return the processes that live leases name in their records."""
        found: Set[int] = set()
        for known in self.live():
            if known.state is not None:
                _numbers(known.state.observed, found)
            try:
                undo = known.folder.undo_record()
            except AgentError:
                continue  # its own family tells that it is damaged
            if undo is not None:
                _numbers(undo.prior, found)
                _numbers(undo.params, found)
        return found

    def _read(self, path: str) -> Known:
        parent, lease = os.path.split(path)
        home = Home(os.path.dirname(parent), self.home.limited)  # noqa: PTH120 (pathlib costs 9 ms at start)
        folder = LeaseFolder(home, lease, self._clock)
        state = folder.seen()
        applied, kept = locked(f"{folder.path}/apply.lock"), locked(f"{folder.path}/keeper.lock")
        return Known(lease, folder, state, applied, kept, self._lives(state, applied=applied, kept=kept))

    def _lives(self, state: Optional[State], *, applied: bool, kept: bool) -> bool:
        if state is None:
            return applied
        if state.state in ENDED or state.state == "stuck" or state.boot != self._boot:
            return False
        if state.state in ("reserved", "armed"):
            return applied or kept
        return self._clock.boottime_s() < min(state.deadline_s, state.end_s) + _GRACE_S


def locked(path: str) -> bool:
    """Tell whether some process holds the lock; a lock file that is not there is not made."""
    return os.path.exists(path) and held(path)  # noqa: PTH110 (pathlib costs 9 ms at start)


def _numbers(value: JsonValue, found: Set[int], name: str = "") -> None:
    """Collect the whole numbers below names with `pid` in them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _numbers(inner, found, key if "pid" in key or "process" in key else name)
    elif isinstance(value, list):
        for inner in value:
            _numbers(inner, found, name)
    elif name and isinstance(value, int) and not isinstance(value, bool):
        found.add(value)
