# SPDX-License-Identifier: Apache-2.0
"""The user's inventory, and how much of it may be touched, as an experiment's configuration names it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.arguments import flag
from chaosgpu.fleet.values import JsonMapping, JsonObject, seconds

__all__ = ["AGENT", "Inventory", "named_inventory", "recorded_inventory"]

AGENT = "/usr/libexec/chaosgpu/agent.pyz"
_KEYS = (
    "chaosgpu_inventory",
    "chaosgpu_limit",
    "chaosgpu_blast_radius",
    "chaosgpu_together",
    "chaosgpu_push_agent",
    "chaosgpu_agent_path",
    "chaosgpu_renew_fleet",
    "chaosgpu_ttl_s",
)


@dataclass(frozen=True)
class Inventory:
    """What `ansible-playbook` gets with -i, which part of it may be chosen from, and how many hosts at most."""

    sources: tuple[str, ...]
    limit: str | None = None
    blast_radius: int = 1
    agent: str = AGENT
    # Whether a fault over several hosts goes in at one instant.
    together: bool = True
    # Whether a host without our agent's file gets it before a fault is put in.
    push: bool = False
    # Whether leases are renewed, over Ansible too, and for how long at a time; None: as the round trip asks for.
    renew: bool = False
    ttl_s: float | None = None

    def as_json(self) -> JsonObject:
        """Return it for the ledger."""
        return {
            "inventory": [*self.sources],
            "limit": self.limit,
            "blast_radius": self.blast_radius,
            "agent_path": self.agent,
        }


def named_inventory(configuration: Mapping[str, object]) -> Inventory | None:
    """Read it from a configuration; None where none is named, and then only this host can be reached."""
    given = {key: configuration.get(key) for key in _KEYS if configuration.get(key) not in (None, "")}
    sources = _sources(given.pop("chaosgpu_inventory", None))
    if not sources:
        if given:
            raise BadArgument(
                f"{', '.join(given)} is set without chaosgpu_inventory: name the inventory that it is of."
            )
        return None
    renew = flag("chaosgpu_renew_fleet", given.get("chaosgpu_renew_fleet", False))
    if "chaosgpu_ttl_s" in given and not renew:
        raise BadArgument("chaosgpu_ttl_s is for how long a renewal counts: set chaosgpu_renew_fleet to true as well.")
    return Inventory(
        sources,
        _limit(given.get("chaosgpu_limit")),
        _radius(given.get("chaosgpu_blast_radius", 1)),
        _agent(given.get("chaosgpu_agent_path", AGENT)),
        flag("chaosgpu_together", given.get("chaosgpu_together", True)),
        flag("chaosgpu_push_agent", given.get("chaosgpu_push_agent", False)),
        renew,
        seconds("chaosgpu_ttl_s", given["chaosgpu_ttl_s"]) if "chaosgpu_ttl_s" in given else None,
    )


def recorded_inventory(planned: JsonMapping) -> Inventory | None:
    """Read back what `as_json` wrote into a run's record; None for a run on one host."""
    fleet = planned.get("fleet")
    if not isinstance(fleet, dict):
        return None
    sources, limit, agent = fleet.get("inventory"), fleet.get("limit"), fleet.get("agent_path")
    named = tuple(str(source) for source in sources) if isinstance(sources, list) else ()
    if not named:
        return None
    return Inventory(named, None if limit is None else str(limit), agent=AGENT if agent is None else str(agent))


def _sources(value: object) -> tuple[str, ...]:
    """Return the sources, files by their whole path: the record must lead there from any folder."""
    listed = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    found = []
    for source in listed:
        if not isinstance(source, str) or not source.strip():
            raise BadArgument(
                f"chaosgpu_inventory must name a file, a folder or a list of them, as for ansible-playbook -i, "
                f"not {value!r}."
            )
        here = Path(source).expanduser()
        if "," not in source and not here.exists():
            raise BadArgument(f"The inventory {source} does not exist here ({Path.cwd()}); nothing was touched.")
        found.append(str(here.absolute()) if here.exists() else source)
    return tuple(found)


def _limit(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise BadArgument(f"chaosgpu_limit must be an Ansible pattern, as for --limit, not {value!r}.")


def _radius(value: object) -> int:
    """Check the blast radius; what comes from the environment is text."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BadArgument(f"chaosgpu_blast_radius must be how many hosts may be touched at most, not {value!r}.")
    return number


def _agent(value: object) -> str:
    if isinstance(value, str) and os.path.isabs(value):  # noqa: PTH117 (a path of another host)
        return value
    raise BadArgument(f"chaosgpu_agent_path must be the agent's whole path on the hosts, not {value!r}.")
