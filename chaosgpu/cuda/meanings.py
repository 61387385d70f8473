# SPDX-License-Identifier: Apache-2.0
"""What a difference in each value breaks, for people who have to decide whether to mind it."""

from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from chaosgpu.cuda.compatibility import read_data

__all__ = ["meaning"]

_UNKNOWN = "what it breaks is not known"


def meaning(key: str) -> str:
    """Return what a difference in this value breaks, as the end of a sentence."""
    return next((breaks for keys, breaks in _entries() if fnmatchcase(key, keys)), _UNKNOWN)


@cache
def _entries() -> list[tuple[str, str]]:
    entries: Any = read_data("meanings")["entries"]
    return [(entry["keys"], entry["breaks"]) for entry in entries]
