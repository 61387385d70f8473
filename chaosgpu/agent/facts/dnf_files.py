# SPDX-License-Identifier: Apache-2.0
"""Files of settings as dnf reads them, dnf.conf and *.repo alike; what dnf takes for no such file is unknown here."""

import re
from typing import Dict, Iterable, List, Tuple

from chaosgpu.agent.facts.tree import Tree, UnknownFact

__all__ = ["Sections", "chosen", "excluded", "items", "sections"]

Sections = Dict[str, Dict[str, str]]  # the settings of each section, in the order of the file

_SECTION = re.compile(r"\[([^\]]+)\]")
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")


def sections(tree: Tree, path: str) -> Sections:
    """Return what a file says; UnknownFact where it cannot be read, or dnf would not read it either."""
    found: Sections = {}
    section = option = ""
    for number, line in enumerate(tree.read(path).decode(errors="replace").splitlines(), 1):
        text = line.strip()
        if not text or line[0] in "#;":
            option = ""
        elif line[0].isspace() and section:
            if not option:
                raise UnknownFact(f"line {number} of {path} goes on with no setting")
            found[section][option] += f"\n{text}"
        elif text.startswith("["):
            match = _SECTION.match(text)
            if match is None:
                raise UnknownFact(f"line {number} of {path} names no section")
            section, option = match[1], ""
            found.setdefault(section, {})
        else:
            name, sign, value = text.partition("=")
            if not (section and sign and name.strip()):
                raise UnknownFact(f"line {number} of {path} is no setting of a section")
            option = name.strip()
            found[section][option] = value.strip()
    return found


def items(value: str) -> List[str]:
    """Return the entries of a list: commas, blanks and new lines part them."""
    return [one for one in re.split(r"[\s,]+", value) if one]


def excluded(settings: Dict[str, str], path: str, before: Iterable[Tuple[str, str]] = ()) -> List[Tuple[str, str]]:
    """Return the patterns that a section excludes by either name, after those before it, each with its file.

    An empty list, or one that begins with nothing, takes back all that was before it.
    """
    found = [*before]
    for name, value in settings.items():
        if name in ("exclude", "excludepkgs"):
            if value in ("", "None") or value.startswith(","):
                found = []
            found += [(one, path) for one in items(value) if value != "None"]
    return found


def chosen(settings: Dict[str, str], name: str, otherwise: bool, path: str) -> bool:
    """Return a setting that is yes or no; UnknownFact where it is neither."""
    said = settings.get(name, "").lower()
    if said in _YES or said in _NO:
        return said in _YES
    if not said:
        return otherwise
    raise UnknownFact(f"{name} in {path} is {settings[name]!r}, which is neither yes nor no")
