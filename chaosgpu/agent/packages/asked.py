# SPDX-License-Identifier: Apache-2.0
"""What a request about packages says, read by value."""

import re
from typing import Dict, List

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.values import JsonMapping, JsonValue

__all__ = ["names", "texts", "versions", "within"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]+(:[a-z0-9]+)?")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~^_-]*")
_LONGEST_S = 7200.0


def versions(request: JsonMapping) -> Dict[str, str]:
    """Return the version of each package."""
    named = values.mapping(request, "packages")
    if not named:
        raise BadRequest("packages names no package; nothing is meant by default.")
    found = {name: values.text(named, name) for name in named}
    for name, version in found.items():
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
            raise BadRequest(f"packages has {name!r}: {version!r}, which is no package in one whole version.")
    return found


def names(request: JsonMapping, key: str) -> List[str]:
    """Return a list of packages; empty where none is given."""
    found = request.get(key, [])
    if not isinstance(found, list) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in found):
        raise BadRequest(f"{key} must be a list of names of packages, not {found!r}.")
    return [str(name) for name in found]


def texts(value: JsonValue) -> List[str]:
    """Return a list of texts as one."""
    return [str(one) for one in value] if isinstance(value, list) else []


def within(request: JsonMapping, default_s: float) -> float:
    """Return how long it may take."""
    return values.number(request, "within_s", 1.0, _LONGEST_S) if "within_s" in request else default_s
