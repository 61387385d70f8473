# SPDX-License-Identifier: Apache-2.0
"""JSON with types on the controller's side, and readers that say what an answer lacks."""

import math
from collections.abc import Mapping

from chaosgpu.errors import AgentFailed, BadArgument

__all__ = [
    "JsonMapping",
    "JsonObject",
    "JsonValue",
    "number",
    "objects",
    "optional_text",
    "seconds",
    "text",
    "whole_object",
]

type JsonValue = bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None
type JsonObject = dict[str, JsonValue]
type JsonMapping = Mapping[str, JsonValue]


def text(source: JsonMapping, key: str) -> str:
    """Read a string."""
    value = source.get(key)
    if not isinstance(value, str):
        raise AgentFailed(
            f"The agent's answer has no text {key!r} but {value!r}; are agent and controller the same version?"
        )
    return value


def optional_text(source: JsonMapping, key: str) -> str | None:
    """Read a string, or None where it is missing or null."""
    return None if source.get(key) is None else text(source, key)


def number(source: JsonMapping, key: str) -> float | None:
    """Read a number, or None where the agent gave none."""
    value = source.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def whole_object(source: JsonMapping, key: str) -> JsonObject:
    """Read an object; an empty one where it is missing."""
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def objects(source: JsonMapping, key: str) -> list[JsonObject]:
    """Read a list of objects."""
    value = source.get(key)
    if not isinstance(value, list):
        raise AgentFailed(
            f"The agent's answer has no list {key!r} but {value!r}; are agent and controller the same version?"
        )
    return [item for item in value if isinstance(item, dict)]


def seconds(name: str, value: object) -> float:
    """Check a span of time that an experiment gave; experiments are not typed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise BadArgument(f"{name} must be a number of seconds over 0, not {value!r}.")
    return float(value)
