# SPDX-License-Identifier: Apache-2.0
"""Names and values of one level as the nested object that a lock file has: the way back of `flat`."""

from collections.abc import Mapping

from chaosgpu.cuda.flat import Value

__all__ = ["nested"]

# How many parts of a name are keys of their own at its end, by its first part. What lies between is one key, dots
# and all: a unit, a path, a package.
_PARTS_AT_THE_END = {"packages": 0, "broken": 0, "images": 0, "services": 1, "nics": 1, "engines": 1}


def nested(values: Mapping[str, Value]) -> dict[str, object]:
    """Return the values as objects in objects."""
    found: dict[str, object] = {}
    for key, value in values.items():
        *path, last = _path(key)
        at = found
        for part in path:
            inner = at.setdefault(part, {})
            if not isinstance(inner, dict):
                raise TypeError(f"{key} lies below a value")
            at = inner
        at[last] = list(value) if isinstance(value, tuple) else value
    return found


def _path(key: str) -> list[str]:
    first, _, rest = key.partition(".")
    if first == "environments":
        return [first, *_environment(rest)]
    ends = _PARTS_AT_THE_END.get(first)
    if ends is None:
        return key.split(".")
    parts = rest.rsplit(".", ends) if ends else [rest]
    return [first, *parts]


def _environment(rest: str) -> list[str]:
    """Split NAME.python and NAME.packages.PACKAGE."""
    if rest.endswith(".python"):
        return [rest.removesuffix(".python"), "python"]
    name, _, package = rest.partition(".packages.")
    return [name, "packages", package]
