# SPDX-License-Identifier: Apache-2.0
"""The packages of a host of RPM's, as rpm tells them; it is asked once a change of its record."""

import re
from fnmatch import fnmatchcase
from typing import Dict, List, Optional, Tuple

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.facts.dnf5_locks import LOCKS, locks
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from chaosgpu.agent.packages.rpm.locking import PLACE, locked
from chaosgpu.agent.packages.rpm.status import FORM, rows, side_by_side
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonValue

__all__ = ["held_at", "key_of", "read"]

_FOLDERS = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_RECORDS = ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages")
_WITHIN_S = 30.0
# What only these worlds have: kernels by parts, modules that are built for them, what upgrades by itself.
_MORE = re.compile(r"^kernel(-core|-modules.*|-devel.*|-headers)?$|^kmod-|^dnf-automatic$|^podman$|^crun$")


def key_of(tree: Tree) -> Optional[List[JsonValue]]:
    """Name the state of rpm's record and of the locks; None where this is no host of RPM's."""
    if not any(tree.exists(f"{folder}/{name}") for folder in _FOLDERS for name in _RECORDS):
        return None
    paths = [f"{folder}/{name}" for folder in _FOLDERS for name in _RECORDS]
    states = [tree.stat(path) for path in (*paths, PLACE, PLACE.replace(".list", ".conf"), LOCKS)]
    return [None if one is None else [one.st_mtime_ns, one.st_size, one.st_ino] for one in states]


def read(tree: Tree, ours: "re.Pattern[str]") -> Tuple[Dict[str, str], List[str], Dict[str, str], str]:
    """Return versions, locked packages, those in two versions, and why locks are unknown (empty where they are not).

    `ours`: which names count anywhere.
    """
    if not tree.is_host:
        raise UnknownFact("rpm's record in an image of a host is not read")
    tools = Tools(rpm=True)
    try:
        said = tools.run(("rpm", "-qa", "--qf", FORM), _WITHIN_S)
        if not said.well:
            raise UnknownFact(f"rpm's record cannot be read: {said.sentence()}")
        several, native = side_by_side(tools), tools.native()
    except Unanswered as error:
        raise UnknownFact(str(error).rstrip(".")) from error
    due, why = held_at(tree, tools)
    found: Dict[str, List[str]] = {}
    holds: List[str] = []
    broken: Dict[str, str] = {}
    for name, version, architecture, _ in rows(said.out, 4):
        if not (ours.search(name) or _MORE.search(name)):
            continue
        shown = name if architecture in (native, "noarch") else f"{name}.{architecture}"
        versions = found.setdefault(shown, [])
        versions.append(version)
        if len(versions) > 1 and name not in several:
            broken[shown] = "in two versions"
        if any(version == at and fnmatchcase(name, pattern) for pattern, at in due):
            holds.append(shown)
    return {name: " ".join(sorted(versions)) for name, versions in found.items()}, sorted(set(holds)), broken, why


def held_at(tree: Tree, tools: Tools) -> Tuple[List[Tuple[str, str]], str]:
    """Return the names or patterns of them that are locked, each with its version, and why they are unknown."""
    try:
        listed = [(name, version) for name, versions in locked(tools).items() for version in versions]
        return [*listed, *locks(tree)], ""
    except OSError as error:
        return [], f"{error.filename} cannot be read ({error.strerror})"
    except UnknownFact as unknown:
        return [], str(unknown)
