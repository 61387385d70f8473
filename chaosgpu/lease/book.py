# SPDX-License-Identifier: Apache-2.0
"""What this run knows of its leases; the hosts' own records are the truth, this is the controller's copy."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from chaosgpu.fleet.values import JsonObject

__all__ = ["Book", "Lease"]

# Nothing of such a lease can still be on the host.
_ENDED = frozenset({"clean", "refused", "never"})


@dataclass(frozen=True)
class Lease:
    """One lease. `state`: reserved, active, clean, stuck, refused, never (the host holds no such lease), unknown."""

    lease: str
    host: str
    fault: str
    state: str
    observed: JsonObject = field(default_factory=dict)
    restored: JsonObject = field(default_factory=dict)
    reason: str | None = None
    # When the host ends it, on this controller's monotonic clock.
    expires_at_s: float = math.inf
    # Whether the host said that the fault was in force: such a lease cannot just be missing later.
    was_active: bool = False
    # Why it left `active` before its undo was due: the deadline, a halt, a dead holder, or not verified again.
    ended_early: str | None = None
    # Who ended it, as the host said when it was undone.
    ended_by: str | None = None
    # The experiment has judged what it wanted to: from here on its end spoils nothing.
    judged: bool = False
    # How often it was renewed, how often when that was last written down, and when that was.
    renewals: int = 0
    renewals_told: int = 0
    told_at_s: float = -math.inf
    unverified: bool = False
    # The agent was asked to undo it on purpose: it is not expected to be in force any more.
    undo_due: bool = False

    @property
    def open(self) -> bool:
        """Tell whether something of it may still be on the host."""
        return self.state not in _ENDED

    @property
    def in_force(self) -> bool:
        """Tell whether the experiment counts on this fault now."""
        return self.state == "active" and not self.undo_due


class Book:
    """The leases of a run by name. Background activities and the stop's own thread share it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._leases: dict[str, Lease] = {}

    def put(self, lease: Lease) -> Lease:
        """Add or replace a lease."""
        with self._lock:
            self._leases[lease.lease] = lease
        return lease

    def change(self, name: str, **changes: object) -> Lease:
        """Change some fields of a lease and return it."""
        with self._lock:
            return self.put(replace(self._leases[name], **changes))  # type: ignore[arg-type]  # fields by name

    def move(self, unknown: Lease, step: Callable[[Lease], Lease]) -> tuple[Lease, Lease]:
        """Change a lease by a function of what it was, as one step; `unknown` is taken where we do not know it."""
        with self._lock:
            before = self._leases.get(unknown.lease, unknown)
            return before, self.put(step(before))

    def get(self, name: str) -> Lease | None:
        """Return one lease."""
        with self._lock:
            return self._leases.get(name)

    def all(self) -> list[Lease]:
        """Return all leases in the order in which they were made."""
        with self._lock:
            return list(self._leases.values())

    def judged(self) -> None:
        """Note that the experiment counts on none of the faults any more."""
        with self._lock:
            for lease in self.all():
                self.put(replace(lease, judged=True))

    def open(self) -> list[Lease]:
        """Return the leases of which something may still be on a host."""
        return [lease for lease in self.all() if lease.open]
