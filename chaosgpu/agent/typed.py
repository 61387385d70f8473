# SPDX-License-Identifier: Apache-2.0
"""Read a dataclass back from JSON by the types of its fields: what does not fit is refused, nothing is converted.

A field that is missing keeps its default, so that a record of an earlier version of the agent can be read.
"""

import math
from dataclasses import fields, is_dataclass
from typing import Any, Type, TypeVar, Union, get_args, get_origin

from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.values import JsonMapping, JsonValue

__all__ = ["read"]

Read = TypeVar("Read")


def read(kind: Type[Read], source: JsonMapping) -> Read:
    """Return the dataclass; BadRequest where a value is of another type, or one without a default is missing."""
    found = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    given = {name: _value(name, field.type, source[name]) for name, field in found.items() if name in source}
    try:
        return kind(**given)
    except TypeError as error:
        raise BadRequest(f"{kind.__name__} is not whole: {error}.") from error


def _value(name: str, kind: Any, value: JsonValue) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Union:  # always with None
        return None if value is None else _value(name, inner[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(name, inner[0], item) for item in value)
    if is_dataclass(kind) and isinstance(value, dict):
        return read(kind, value)  # type: ignore[arg-type]
    if not _fits(origin or kind, value):
        raise BadRequest(f"{name} must be {kind}, not {value!r}.")
    return value


def _fits(kind: Any, value: JsonValue) -> bool:
    """Tell whether a plain value is of this type; a truth value is no number, and a number is finite."""
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    if kind is int:
        return type(value) is int and value >= 0
    return type(value) is kind
