# SPDX-License-Identifier: Apache-2.0
"""Differences: of hosts from the lock file, of hosts from most of their fleet, of one time from another."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosgpu.cuda.flat import Flat, Value
from chaosgpu.errors import BadArgument

if TYPE_CHECKING:
    from chaosgpu.cuda.lock import Lock

__all__ = ["Difference", "Outlier", "Unread", "against_lock", "between", "due_of", "outliers"]


@dataclass(frozen=True)
class Difference:
    """One value that is not what it should be; None is absent."""

    host: str
    key: str
    due: Value | None
    found: Value | None


@dataclass(frozen=True)
class Unread:
    """One value that should be compared and cannot be known."""

    host: str
    key: str
    why: str


@dataclass(frozen=True)
class Outlier:
    """One name in which the hosts of a fleet differ: what most have, and who has what else."""

    key: str
    majority: Value | None
    agree: int
    total: int
    others: Mapping[Value | None, Sequence[str]]


def due_of(lock: "Lock", host: str, today: dt.date) -> dict[str, Value]:
    """Return what a host should be; BadArgument where no group of the lock has it."""
    from chaosgpu.cuda.lock import flat_lock  # noqa: PLC0415 (its checks take a tenth of a second to load)

    group = next((group for group in lock.groups.values() if host in group.hosts), None)
    if group is None:
        raise BadArgument(f"No group of the lock file has the host {host}; add it to the one that it should be like.")
    due = flat_lock(group.locked)
    allowed = lock.exceptions.get(host)
    if allowed is not None and (allowed.until is None or today <= allowed.until):
        due.update(flat_lock(allowed.locked))
    return due


def against_lock(due: Mapping[str, Value], host: Flat) -> tuple[list[Difference], list[Unread]]:
    """Compare a host with what it should be; what cannot be known is no difference and not clean either."""
    differences, unread = [], []
    for key, value in due.items():
        found = host.values.get(key)
        why = host.why(key) if found is None else None
        if why is not None:
            unread.append(Unread(host.host, key, why))
        elif not _same(value, found):
            differences.append(Difference(host.host, key, value, found))
    return differences, unread


def between(before: Mapping[str, Value], after: Mapping[str, Value], host: str) -> list[Difference]:
    """Compare two times, or two lock files."""
    keys = [*before, *(key for key in after if key not in before)]
    return [
        Difference(host, key, before.get(key), after.get(key))
        for key in keys
        if not _same(before.get(key), after.get(key))
    ]


def outliers(hosts: Sequence[Flat]) -> list[Outlier]:
    """Find the names in which the hosts differ. A host that cannot tell a value has no vote on it.

    `majority` is None where no value has more than half of the votes, or where most have none.
    """
    found = []
    for key in dict.fromkeys(key for host in hosts for key in host.values):
        votes = {
            host.host: host.values.get(key) for host in hosts if host.values.get(key) is not None or not host.why(key)
        }
        counted = Counter(votes.values())
        if len(counted) < 2:  # noqa: PLR2004 (they differ where there are two values)
            continue
        most, agree = counted.most_common(1)[0]
        if agree * 2 <= len(votes):
            most, agree = None, 0
        others: dict[Value | None, list[str]] = {}
        for host, value in votes.items():
            if agree == 0 or value != most:
                others.setdefault(value, []).append(host)
        found.append(Outlier(key, most, agree, len(votes), others))
    return found


def _same(one: Value | None, other: Value | None) -> bool:
    """Compare values; lists without their order, since a person sorts them in a file."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return Counter(one) == Counter(other)
    return isinstance(one, bool) == isinstance(other, bool) and one == other
