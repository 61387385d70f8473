# SPDX-License-Identifier: Apache-2.0
"""Reads the catalogue: one entry for a fragile and a hardened form, each a YAML file with a JSON file beside it.

The JSON files are read, since that takes a hundredth of the time; tests hold both to the same content.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from chaosgpu.catalogue.declared import Declared
from chaosgpu.errors import BadArgument

__all__ = ["FORMS", "Entry", "Form", "entry", "read_catalogue"]

FORMS = ("fragile", "hardened")


@dataclass(frozen=True)
class Form:
    """One experiment of the catalogue in one form; `path` is the file that people edit."""

    path: Path
    title: str
    description: str
    declared: Declared


@dataclass(frozen=True)
class Entry:
    """One experiment in its forms; a whole one has both."""

    name: str
    forms: tuple[Form, ...]

    @property
    def level(self) -> int:
        """Its level, which is its folder's, too."""
        return self.forms[0].declared.level

    def form(self, service: str) -> Form | None:
        """Return the fragile or the hardened form."""
        return next((form for form in self.forms if form.declared.service == service), None)


def read_catalogue(folder: Path) -> tuple[Entry, ...]:
    """Read all entries, by level and name; one that does not declare itself as it must is an error."""
    found: dict[tuple[int, str], list[Form]] = {}
    for path in sorted(folder.glob("level-*/*.json")):
        form = _form(path)
        name, _, service = path.stem.rpartition("-")
        if service != form.declared.service:
            raise BadArgument(f"{path}: its name must end with -{form.declared.service}, the form that it declares.")
        if path.parent.name != f"level-{form.declared.level}":
            raise BadArgument(f"{path}: it declares level {form.declared.level}; move it, or change that.")
        found.setdefault((form.declared.level, name), []).append(form)
    return tuple(Entry(name, tuple(forms)) for (_, name), forms in sorted(found.items()))


def entry(folder: Path, name: str) -> Entry:
    """Return one entry, by its name or that of one of its files."""
    every = read_catalogue(folder)
    wanted = Path(name).stem.removesuffix("-fragile").removesuffix("-hardened")
    for one in every:
        if one.name == wanted:
            return one
    raise BadArgument(f"The catalogue has no experiment {name!r}; it has: {', '.join(one.name for one in every)}.")


def _form(path: Path) -> Form:
    """Read one file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        blocks = [one for one in content.get("extensions", []) if one.get("name") == "chaosgpu"]
        title, description = str(content["title"]), str(content["description"])
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise BadArgument(f"{path} is no experiment with title, description and extensions: {error}.") from error
    if len(blocks) != 1:
        raise BadArgument(f"{path} has {len(blocks)} blocks named chaosgpu in its extensions; it needs one.")
    try:
        return Form(path.with_suffix(".yaml"), title, description, Declared.model_validate(blocks[0]))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise BadArgument(f"{path} does not declare itself as the catalogue wants it: {said}.") from error
