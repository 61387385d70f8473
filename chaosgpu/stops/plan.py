# SPDX-License-Identifier: Apache-2.0
"""From what an experiment says to what is watched here and what is sent to the host with each fault."""

from dataclasses import dataclass

from chaosgpu.agent.stops.registry import CONDITIONS
from chaosgpu.agent.stops.tree import Known, checked, leaves, mistake_in
from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.stops.contract import AllOf, AnyOf, Stop
from chaosgpu.stops.registry import HERE
from chaosgpu.stops.scene import Scene
from chaosgpu.stops.words import tree_of

__all__ = ["Plan", "plan_of"]

_KNOWN: dict[str, Known] = {**CONDITIONS, **HERE}


@dataclass(frozen=True)
class Plan:
    """`here` is watched by the guard, `host` by each host; either may be None."""

    here: Stop | None
    host: JsonObject | None


def plan_of(stop_when: object, scene: Scene) -> Plan:
    """Read a text or a tree; BadArgument with one sentence for the first mistake. Nothing is looked at yet."""
    if stop_when is None:
        return Plan(None, None)
    tree = _tree(stop_when)
    [(join, inside)] = tree.items()
    parts = [_object(part) for part in inside] if join == "any" and isinstance(inside, list) else [tree]
    host: list[JsonValue] = [part for part in parts if _is_of_host(part)]
    here = [_stop(part, scene) for part in parts if not _is_of_host(part)]
    return Plan(
        None if not here else here[0] if len(here) == 1 else AnyOf(tuple(here)),
        None if not host else {"any": host} if len(host) > 1 else _object(host[0]),
    )


def _tree(stop_when: object) -> JsonObject:
    if isinstance(stop_when, str):
        tree: object = tree_of(stop_when, _KNOWN)
    elif isinstance(stop_when, dict):
        tree = stop_when
    else:
        raise BadArgument(f"stop_when must be a text or an object, not {stop_when!r}.")
    mistake = mistake_in(tree, _KNOWN)  # type: ignore[arg-type]  # it finds out whether this is JSON
    if mistake is not None:
        raise BadArgument(mistake)
    return checked(tree, _KNOWN)  # type: ignore[arg-type]  # as above


def _is_of_host(tree: JsonObject) -> bool:
    """Tell whether a part belongs to the host; one that mixes both cannot be watched by either."""
    names = [name for name, _ in leaves(tree)]
    there = [name for name in names if name in CONDITIONS]
    if there and len(there) < len(names):
        here = next(name for name in names if name in HERE)
        raise BadArgument(
            f"{there[0]} is watched on the host and {here} here, so they cannot be joined with &: join them with |."
        )
    return bool(there)


def _stop(tree: JsonObject, scene: Scene) -> Stop:
    [(name, inside)] = tree.items()
    if not isinstance(inside, list):
        return HERE[name].make(_object(inside), scene)
    parts = tuple(_stop(_object(part), scene) for part in inside)
    return AnyOf(parts) if name == "any" else AllOf(parts)


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
