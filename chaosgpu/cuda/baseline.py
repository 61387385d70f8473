# SPDX-License-Identifier: Apache-2.0
"""A lock file made from hosts as they are: what they share is locked, what one of them has alone is its exception."""

import datetime as dt
from collections.abc import Mapping, Sequence

from chaosgpu.cuda.compare import outliers
from chaosgpu.cuda.facts import LookAt
from chaosgpu.cuda.flat import Flat, Value
from chaosgpu.cuda.lock import Lock
from chaosgpu.cuda.unflat import nested
from chaosgpu.errors import BadArgument, Refused

__all__ = ["lock_from"]

_WHY = "differed when the lock file was made; say why it may, or remove this and bring the host back"
# What changes from day to day without anybody's deed, or says only that something is half done.
_NOT_LOCKED = ("broken.", "driver.strays")
_TOLD = 5


def lock_from(groups: Mapping[str, Sequence[Flat]], look_at: LookAt, today: dt.date, about: str = "") -> Lock:
    """Make a lock file of groups of hosts.

    Raises Refused where a group has no majority for a value: a person must say which is right.
    """
    document: dict[str, object] = {
        "version": 1,
        "about": about,
        "recorded": today,
        "look_at": {
            "services": [*look_at.services],
            "environments": dict(look_at.environments),
            "engines": [*look_at.engines],
            "triton": look_at.triton,
        },
    }
    made: dict[str, object] = {}
    exceptions: dict[str, object] = {}
    for name, hosts in groups.items():
        if not hosts:
            raise BadArgument(f"The group {name} has no host; an empty selection is an error.")
        made[name] = {"hosts": [host.host for host in hosts], "locked": nested(_shared(name, hosts))}
        for host, own in _own(hosts).items():
            exceptions[host] = {"why": _WHY, "locked": nested(own)}
    return Lock.model_validate({**document, "groups": made, "exceptions": exceptions})


def _shared(group: str, hosts: Sequence[Flat]) -> dict[str, Value]:
    """Return what the hosts have in common, and where they differ what most have."""
    odd = {one.key: one for one in outliers(hosts)}
    split = [key for key, one in odd.items() if one.agree == 0 and not key.startswith(_NOT_LOCKED)]
    if split:
        named = f"{', '.join(split[:_TOLD])}{' and more' if split[_TOLD:] else ''}"
        raise Refused(
            f"The hosts of {group} have no majority for {named}: which is right? Put them into groups of their own, or "
            "bring them together first."
        )
    found: dict[str, Value] = {}
    for host in hosts:
        for key, value in host.values.items():
            due = odd[key].majority if key in odd else value
            if due is not None and not key.startswith(_NOT_LOCKED):
                found.setdefault(key, due)
    return found


def _own(hosts: Sequence[Flat]) -> dict[str, dict[str, Value]]:
    """Return, by host, what it has instead of what most have."""
    found: dict[str, dict[str, Value]] = {}
    for one in outliers(hosts):
        for value, names in one.others.items():
            if value is None or one.agree == 0 or one.key.startswith(_NOT_LOCKED):
                continue
            for name in names:
                found.setdefault(name, {})[one.key] = value
    return found
