# SPDX-License-Identifier: Apache-2.0
"""Look at a tree of stop conditions: met, not met, or not known, which whoever asks takes for met.

One look that fails is followed by one more at once. A part that is known not to be met decides an `all` whatever the
rest would say; a part that is not known never makes an `any` harmless.
"""

from typing import Iterator, List, Mapping

from chaosgpu.agent import values
from chaosgpu.agent.errors import FAULT_BROKE, AgentError
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.stops.contract import Condition, Look
from chaosgpu.agent.stops.registry import CONDITIONS
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["judge", "look_at"]

_TRIES = 2


def judge(
    tree: JsonObject, begun: Iterator[JsonValue], tools: Tools, known: Mapping[str, Condition] = CONDITIONS
) -> Look:
    """Look at every condition of a checked tree; `begun` yields what each began with, in the tree's order."""
    [(name, inside)] = tree.items()
    if not isinstance(inside, list):
        since = next(begun, None)
        return look_at(known[name], values.mapping(tree, name), since if isinstance(since, dict) else {}, tools)
    parts = [judge(values.mapping({name: part}, name), begun, tools, known) for part in inside]
    return _joined(parts, decides=name == "any")


def look_at(condition: Condition, params: JsonMapping, begun: JsonMapping, tools: Tools) -> Look:
    """Look at one condition, at once again where that fails, and say what failed where it fails twice."""
    why = ""
    for _ in range(_TRIES):
        try:
            return condition.look(params, begun, tools)
        except AgentError as error:  # noqa: PERF203 (two tries)
            why = str(error)
        except FAULT_BROKE as error:
            why = f"{type(error).__name__}: {error}"
    return Look(None, f"{condition.name} cannot be read: {why.rstrip('.')}")


def _joined(parts: List[Look], decides: bool) -> Look:
    """Join: `decides` is the answer of one part that is the answer of the whole."""
    for wanted in (decides, None):
        found = [part for part in parts if part.met is wanted]
        if found:
            return found[0]
    return Look(not decides, " and ".join(part.reading for part in parts))
