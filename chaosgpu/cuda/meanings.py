# SPDX-License-Identifier: Apache-2.0
"""What a difference in each value breaks, for people who have to decide whether to mind it."""

from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

__all__ = ["meaning"]

_UNKNOWN = "what it breaks is not known"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: str
    breaks: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    entries: list[_Entry]


def meaning(key: str) -> str:
    """Return what a difference in this value breaks, as the end of a sentence."""
    return next((entry.breaks for entry in _entries() if fnmatchcase(key, entry.keys)), _UNKNOWN)


@cache
def _entries() -> list[_Entry]:
    text = (resources.files("chaosgpu.cuda") / "data" / "meanings.yaml").read_text(encoding="utf-8")
    return _File.model_validate(yaml.safe_load(text)).entries
