# SPDX-License-Identifier: Apache-2.0
"""Which hosts an experiment means: this one, or those of the user's inventory that Ansible finds for a pattern."""

from collections.abc import Iterable, Sequence

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.ansible.choose import hosts_of
from chaosgpu.fleet.inventory import Inventory

__all__ = [
    "LOCAL",
    "are_known",
    "check_pattern",
    "chosen",
    "inventory_in_use",
    "known_hosts",
    "one_host",
    "set_inventory",
    "take_known",
]

LOCAL = "localhost"
_ALL = "all"
_LOCAL_NAMES = frozenset({LOCAL, "local"})


class _Known:
    """The inventory of this process, and what was chosen from it: a pattern is asked for once."""

    inventory: Inventory | None = None
    chosen: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 (one for the process)


def set_inventory(inventory: Inventory | None) -> None:
    """Choose from this inventory from now on, or from none."""
    _Known.inventory = inventory
    _Known.chosen = {}


def inventory_in_use() -> Inventory | None:
    """Return the inventory of this process."""
    return _Known.inventory


def known_hosts() -> tuple[str, ...]:
    """Return every host that may hold a lease of ours: the whole inventory within its limit, or this host."""
    return (LOCAL,) if _Known.inventory is None else _names([_ALL])[_ALL]


def are_known() -> bool:
    """Tell whether these hosts are known without asking Ansible."""
    return _Known.inventory is None or _ALL in _Known.chosen


def take_known(names: Iterable[str]) -> None:
    """Take up every host of the inventory within its limit, as Ansible has said them."""
    _take({_ALL: tuple(sorted(names))})


def check_pattern(hosts: object) -> str:
    """Check what an experiment gave as `hosts`; an empty selection is refused, never widened."""
    if not isinstance(hosts, str) or not hosts.strip():
        raise BadArgument(f"hosts must name a host, not {hosts!r}; an empty selection never means all hosts.")
    pattern = hosts.strip()
    if pattern in _LOCAL_NAMES:
        return LOCAL
    if _Known.inventory is None:
        raise BadArgument(
            f"hosts={hosts!r} cannot be reached without an inventory, only 'localhost' can: name yours as "
            "chaosgpu_inventory in the experiment's configuration."
        )
    if "{{" in pattern or "{%" in pattern:
        raise BadArgument(f"hosts={hosts!r} must be an Ansible pattern without a template in it.")
    return pattern


def chosen(patterns: Iterable[object]) -> dict[str, tuple[str, ...]]:
    """Return the hosts that each pattern means; more of them all together than the blast radius are refused."""
    wanted = list(dict.fromkeys(check_pattern(pattern) for pattern in patterns))
    found: dict[str, tuple[str, ...]] = {LOCAL: (LOCAL,)} if LOCAL in wanted else {}
    found |= _names([pattern for pattern in wanted if pattern != LOCAL])
    every = sorted({host for names in found.values() for host in names})
    inventory = _Known.inventory
    if inventory is not None and len(every) > inventory.blast_radius:
        raise BadArgument(
            f"{', '.join(map(repr, wanted))} means {len(every)} hosts ({', '.join(every)}), and the blast radius is "
            f"{inventory.blast_radius}: choose fewer, or raise chaosgpu_blast_radius. Nothing was touched."
        )
    return found


def one_host(hosts: object) -> str:
    """Return the one host that `hosts` names; a reading of several is none."""
    pattern = check_pattern(hosts)
    if pattern == LOCAL:
        return LOCAL
    names = _names([pattern])[pattern]
    if len(names) != 1:
        raise BadArgument(
            f"hosts={hosts!r} means {len(names)} hosts ({', '.join(names)}), and one is due here: name it."
        )
    return names[0]


def _names(patterns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Ask Ansible for the patterns that were not asked for yet."""
    inventory = _Known.inventory
    fresh = [pattern for pattern in patterns if pattern not in _Known.chosen]
    if fresh and inventory is not None:
        _take(hosts_of(inventory, fresh))
    return {pattern: _Known.chosen[pattern] for pattern in patterns}


def _take(found: dict[str, tuple[str, ...]]) -> None:
    """Take up what patterns mean; a name that is ours and the inventory's too is refused."""
    for pattern, names in found.items():
        ours = sorted(_LOCAL_NAMES.intersection(names))
        if ours:
            raise BadArgument(
                f"{pattern!r} means the host {ours[0]!r} of the inventory too, and that name is this controller's own: "
                f"rename it there, or take it out ({pattern}:!{ours[0]}). Nothing was touched."
            )
    _Known.chosen |= found
