# SPDX-License-Identifier: Apache-2.0
"""Whether a value from a file fits the type that a function declares for it, and how to call a type in a sentence."""

import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin, is_typeddict

__all__ = ["describe", "fits", "only_of"]

_SCALARS: dict[object, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
    type(None): (type(None),),
    None: (type(None),),
}
_LISTS = (list, tuple, Sequence, set, frozenset)
_OBJECTS = (dict, Mapping)
_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
    None: "null",
}


def fits(value: object, annotation: object) -> bool:
    """Say whether the value is of the declared type. A type that is not known here takes everything."""
    if isinstance(annotation, TypeAliasType):
        return fits(value, annotation.__value__)
    if annotation in _SCALARS:
        wanted = _SCALARS[annotation]
        return isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return fits(value, inner[0])
    if origin in {Union, types.UnionType}:
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if (origin or annotation) in _LISTS:
        return isinstance(value, list) and (not inner or all(fits(item, inner[0]) for item in value))
    if (origin or annotation) in _OBJECTS or is_typeddict(annotation):
        return isinstance(value, dict) and (len(inner) != 2 or all(fits(item, inner[1]) for item in value.values()))  # noqa: PLR2004 (key and value)
    return True


def only_of(annotation: object, kinds: frozenset[str]) -> bool:
    """Say whether everything that the annotation allows is of these kinds (number, bool, text, list, object, null)."""
    found = _kinds(annotation)
    return bool(found) and found <= kinds


def describe(annotation: object) -> str:
    """Return the words for a type."""
    if isinstance(annotation, TypeAliasType):
        return describe(annotation.__value__)
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(inner[0])
    if origin in {Union, types.UnionType}:
        return " or ".join(describe(one) for one in inner)
    if origin is Literal:
        return "one of " + ", ".join(repr(one) for one in inner)
    if (origin or annotation) in _LISTS:
        return f"a list of {describe(inner[0])}" if inner else "a list"
    return "an object"


def _kinds(annotation: object) -> frozenset[str]:
    if isinstance(annotation, TypeAliasType):
        return _kinds(annotation.__value__)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kinds(inner[0])
    if origin in {Union, types.UnionType}:
        parts = [_kinds(one) for one in inner]
        return frozenset().union(*parts) if all(parts) else frozenset()
    if annotation in {inspect.Signature.empty, Any, object}:
        return frozenset()
    simple = {bool: "bool", int: "number", float: "number", str: "text", None: "null", type(None): "null"}
    if annotation in simple:
        return frozenset({simple[annotation]})
    if (origin or annotation) in _LISTS:
        return frozenset({"list"})
    if (origin or annotation) in _OBJECTS or is_typeddict(annotation):
        return frozenset({"object"})
    return frozenset()
