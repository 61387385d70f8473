# SPDX-License-Identifier: Apache-2.0
"""Products as data: what one GPU of a kind says about itself, and which calls it does not support."""

import json
from dataclasses import dataclass
from importlib import resources

from chaosgpu.errors import BadArgument

__all__ = ["Profile", "load", "names"]

_ALIASES = {"h100-sxm": "h100", "rtx4090": "geforce"}


@dataclass(frozen=True)
class Profile:
    """One product: fields of the machine, fields of each GPU, and the functions that answer NOT_SUPPORTED."""

    name: str
    system: dict[str, str | int]
    gpu: dict[str, str | int | list[int]]
    not_supported: tuple[str, ...]


def names() -> list[str]:
    """Names of the products that can be simulated."""
    folder = resources.files("chaosgpu.sim") / "profiles"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def load(name: str) -> Profile:
    """Read one profile by its name or alias; raises BadArgument for an unknown one."""
    known = names()
    plain = _ALIASES.get(name, name)
    if plain not in known:
        raise BadArgument(f"There is no simulated GPU called {name!r}; known are {', '.join(known)}.")
    text = (resources.files("chaosgpu.sim") / "profiles" / f"{plain}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    return Profile(plain, data["system"], data["gpu"], tuple(data["not_supported"]))
