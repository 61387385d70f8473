# SPDX-License-Identifier: Apache-2.0
"""The locks of dnf 5, whose versionlock keeps them in a file of TOML of its own; Python 3.9 reads no TOML."""

import re
from typing import Dict, List, Tuple

from chaosgpu.agent.facts.tree import Tree, UnknownFact

__all__ = ["LOCKS", "locks"]

LOCKS = "/etc/dnf/versionlock.toml"
_LINE = re.compile(r"""([A-Za-z_]+)\s*=\s*(?:"([^"\\]*)"|'([^']*)')\s*(?:#.*)?""")
_HEAD = re.compile(r"\[\[\s*(packages|packages\.conditions)\s*\]\]\s*(?:#.*)?")


def locks(tree: Tree) -> List[Tuple[str, str]]:
    """Return each name, or pattern of names, that is locked at one version, as rpm spells it: no epoch where it is 0.

    What locks to a range or shuts one version out lets a package move, and is no hold.
    """
    entries: List[Tuple[Dict[str, str], List[Dict[str, str]]]] = []
    at: Dict[str, str] = {}
    for number, line in enumerate(tree.text(LOCKS).splitlines() if tree.exists(LOCKS) else (), 1):
        text = line.strip()
        head, setting = _HEAD.fullmatch(text), _LINE.fullmatch(text)
        if head and head[1] == "packages":
            at = {}
            entries.append((at, []))
        elif head and entries:
            at = {}
            entries[-1][1].append(at)
        elif setting:
            at[setting[1]] = setting[2] if setting[2] is not None else setting[3]
        elif text and not text.startswith("#"):
            raise UnknownFact(f"line {number} of {LOCKS} is in no form that dnf writes")
    exact = [(entry.get("name", ""), conditions[0]) for entry, conditions in entries if len(conditions) == 1]
    return [
        (name, re.sub(r"^0:", "", one.get("value", "")))
        for name, one in exact
        if (one.get("key"), one.get("comparator")) == ("evr", "=")
    ]
