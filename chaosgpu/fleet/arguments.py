# SPDX-License-Identifier: Apache-2.0
"""The values of an action, checked before anything is asked of a host: experiments are not typed."""

import math
import re
from collections.abc import Sequence

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["flag", "number", "one_of", "only_one", "package_names", "unit_name", "versions", "whole"]

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.service")


def flag(name: str, value: object) -> bool:
    """Check a flag."""
    if not isinstance(value, bool):
        raise BadArgument(f"{name} must be true or false, not {value!r}.")
    return value


def number(name: str, value: object, *, over: float | None = None, least: float = 0, most: float = math.inf) -> float:
    """Check a number within bounds; `over` where the lower bound itself is too low."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadArgument(f"{name} must be a number, not {value!r}.")
    low = least if over is None else over
    if value > most or value < low or (over is not None and value == over):
        lower = f"at least {least:g}" if over is None else f"over {over:g}"
        upper = "" if math.isinf(most) else f" and at most {most:g}"
        raise BadArgument(f"{name} must be {lower}{upper}, not {value!r}.")
    return float(value)


def whole(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Check a whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadArgument(f"{name} must be a whole number, not {value!r}.")
    number(name, value, least=least, most=math.inf if most is None else most)
    return value


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Check a word."""
    if not isinstance(value, str) or value not in allowed:
        raise BadArgument(f"{name} must be {' or '.join(allowed)}, not {value!r}.")
    return value


def only_one(**given: object) -> None:
    """Check that one of these is given, and no other."""
    if sum(value is not None for value in given.values()) != 1:
        raise BadArgument(f"Give either {' or '.join(given)}, one of them and not both.")


def versions(packages: object, what: str = "packages") -> JsonObject:
    """Check that at least one package is named, and each with one whole version."""
    if not isinstance(packages, dict) or not packages:
        example = '{"nvidia-open": "580.95.05-1"}'
        raise BadArgument(f"{what} must name a version for each package, such as {example}, not {packages!r}.")
    for name, version in packages.items():
        if not isinstance(version, str) or not version or " " in version or "*" in version:
            raise BadArgument(f"{what} must give {name!r} one whole version, not {version!r}.")
    package_names([*packages])
    return {**packages}


def unit_name(unit: object) -> str:
    """Check the whole name of a service; no pattern, since a pattern is a selector that may mean everything."""
    if not isinstance(unit, str) or not _UNIT.fullmatch(unit) or unit.partition("@")[2].startswith("."):
        raise BadArgument(f"unit must be the whole name of a service, such as triton.service, not {unit!r}.")
    return unit


def package_names(names: object) -> list[JsonValue]:
    """Check a list of names of packages; none is none."""
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) and _PACKAGE.fullmatch(name) for name in names):
        raise BadArgument(f"It takes a list of names of packages, such as nvidia-open, not {names!r}.")
    return [*names]
