# SPDX-License-Identifier: Apache-2.0
"""Which hosts a pattern means: Ansible's own code says it, with the user's inventory, plugins and ansible.cfg."""

import re
from collections.abc import Sequence

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.ansible.events import Ran
from chaosgpu.fleet.ansible.minder import DEADLINE
from chaosgpu.fleet.ansible.playbook import private_folder, run_playbook
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.values import JsonObject

__all__ = ["hosts_of"]

_WITHIN_S = 120.0
_COUNT = re.compile(r" {4}hosts \((\d+)\):")
_UNKNOWN = re.compile(r"Could not match supplied host pattern, ignoring: (\S+)")
# What Ansible would read as a pattern again when the recorded name is used.
_NAME = re.compile(r"[A-Za-z0-9_.:%-]+")


def hosts_of(inventory: Inventory, patterns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the names that each pattern means within the limit.

    Raises BadArgument for an unknown host or group, a pattern that means nothing, and an inventory that cannot be read.
    """
    plays = [_play(number, pattern) for number, pattern in enumerate(patterns)]
    limit = [] if inventory.limit is None else [f"--limit={inventory.limit}"]
    with private_folder() as folder:
        ran = run_playbook(inventory, plays, folder, _WITHIN_S, "--list-hosts", *limit, mismatch="error")
    told = ", ".join(map(repr, patterns)) + (f" within the limit {inventory.limit!r}" if inventory.limit else "")
    where = f"the inventory {', '.join(inventory.sources)}"
    if ran.status == DEADLINE:
        raise BadArgument(f"Ansible did not say within {_WITHIN_S:g} s which hosts {told} means in {where}.")
    unknown = sorted(set(_UNKNOWN.findall(ran.stderr))) if ran.status != 0 else []
    if unknown:
        raise BadArgument(f"There is no host or group {', '.join(unknown)} in {where}; nothing was touched.")
    if ran.status != 0:
        raise BadArgument(f"Ansible does not know which hosts {told} means in {where}; nothing was touched: {ran.said}")
    found = dict(zip(patterns, _listed(ran), strict=True))
    for pattern, names in found.items():
        if not names:
            within = f" within the limit {inventory.limit!r}" if inventory.limit else ""
            raise BadArgument(
                f"hosts={pattern!r} means no host of {where}{within}; an empty selection never means all hosts."
            )
        for name in names:
            if not _NAME.fullmatch(name):
                raise BadArgument(
                    f"The host {name!r} of {where} has a name that Ansible reads as a pattern: rename it."
                )
    return found


def _play(number: int, pattern: str) -> JsonObject:
    return {"name": str(number), "hosts": pattern, "gather_facts": False}


def _listed(ran: Ran) -> list[tuple[str, ...]]:
    """Read what `--list-hosts` printed: one block of names for each play."""
    found: list[tuple[str, ...]] = []
    lines = iter(ran.stdout.splitlines())
    for line in lines:
        count = _COUNT.fullmatch(line)
        if count:
            found.append(tuple(sorted(next(lines).strip() for _ in range(int(count[1])))))
    return found
