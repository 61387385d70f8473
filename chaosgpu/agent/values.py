# SPDX-License-Identifier: Apache-2.0
"""JSON with types: what may cross a process boundary, and readers that refuse anything else with a sentence."""

import math
from collections.abc import Mapping
from typing import Dict, List, Optional, Union

from chaosgpu.agent.errors import BadRequest

JsonValue = Union[None, bool, int, float, str, List["JsonValue"], Dict[str, "JsonValue"]]
JsonObject = Dict[str, JsonValue]
JsonMapping = Mapping[str, JsonValue]


def text(source: JsonMapping, key: str) -> str:
    """Read a string that is not empty."""
    value = source.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{key} must be a text that is not empty, not {value!r}.")
    return value


def optional_text(source: JsonMapping, key: str) -> Optional[str]:
    """Read a string, or None where the key is missing or null."""
    return None if source.get(key) is None else text(source, key)


def number(source: JsonMapping, key: str, minimum: float, maximum: float) -> float:
    """Read a finite number within bounds, both included."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadRequest(f"{key} must be a number, not {value!r}.")
    if not minimum <= value <= maximum:
        raise BadRequest(f"{key} must be between {minimum:g} and {maximum:g}, not {value!r}.")
    return float(value)


def whole(source: JsonMapping, key: str, minimum: int, maximum: int) -> int:
    """Read a whole number within bounds, both included."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{key} must be a whole number, not {value!r}.")
    if not minimum <= value <= maximum:
        raise BadRequest(f"{key} must be between {minimum} and {maximum}, not {value}.")
    return value


def flag(source: JsonMapping, key: str, default: bool) -> bool:
    """Read true or false; `default` where the key is missing."""
    value = source.get(key, default)
    if not isinstance(value, bool):
        raise BadRequest(f"{key} must be true or false, not {value!r}.")
    return value


def mapping(source: JsonMapping, key: str) -> JsonObject:
    """Read an object; an empty one where the key is missing."""
    value = source.get(key, {})
    if not isinstance(value, dict):
        raise BadRequest(f"{key} must be an object, not {value!r}.")
    return value


def only(source: JsonMapping, what: str, allowed: "frozenset[str]") -> None:
    """Refuse keys that nobody reads: a misspelt parameter must not be ignored."""
    unknown = sorted(set(source) - allowed)
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        raise BadRequest(f"{what} has no parameter {', '.join(unknown)}; it has: {known}.")
