# SPDX-License-Identifier: Apache-2.0
"""What holds packages where they are, and what moves them by itself: apt's pins and unattended upgrades."""

import re
from typing import Dict, List, Optional, Tuple

from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["apt", "settings"]

_PIN = re.compile(r"nvidia|cuda|cudnn|nccl|^\*|src:\*|linux-|dkms", re.IGNORECASE)
_TOKEN = re.compile(r'//[^\n]*|#[^\n]*|/\*.*?\*/|"((?:[^"\\]|\\.)*)"|([{};])|([^\s{};"]+)', re.DOTALL)


def apt(tree: Tree, found: Optional[Packages]) -> Answer:
    """Return pins, unattended_upgrades and what they leave alone."""
    answer = Answer()
    if not tree.exists("/etc/apt"):
        why = "/etc/apt is not there: this host has no apt, and no dnf either"
        answer.unknown.update(dict.fromkeys(("pins", "unattended_upgrades", "blacklist"), why))
        return answer
    put(answer, "pins", lambda: _pins(tree))
    try:
        said = settings(tree)
    except UnknownFact as why:
        answer.unknown["unattended_upgrades"] = answer.unknown["blacklist"] = str(why)
        return answer
    blacklist: List[JsonValue] = [*said.get("unattended-upgrade::package-blacklist", [])]
    answer.values["blacklist"] = blacklist
    every = (said.get("apt::periodic::unattended-upgrade") or ["0"])[-1]
    if every in ("0", ""):
        answer.values["unattended_upgrades"] = False
    elif found is None:
        answer.unknown["unattended_upgrades"] = "the packages of this host are unknown"
    else:
        answer.values["unattended_upgrades"] = "unattended-upgrades" in found.versions
    return answer


def _pins(tree: Tree) -> JsonValue:
    """Return the records of apt's preferences that may concern us: {"package", "pin", "priority", "file"}."""
    folder = "/etc/apt/preferences.d"
    files = [f"{folder}/{name}" for name in tree.some_names(folder) if re.fullmatch(r"[\w.-]+?(\.pref)?", name)]
    files = [path for path in files if "." not in path.rpartition("/")[2] or path.endswith(".pref")]
    if tree.exists("/etc/apt/preferences"):
        files.insert(0, "/etc/apt/preferences")
    found: List[JsonValue] = []
    for path in files:
        for record in re.split(r"\n\s*\n", tree.text(path)):
            pin = _record(record, path)
            if pin is not None:
                found.append(pin)
    return found


def _record(text: str, path: str) -> Optional[JsonObject]:
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith(("#", "Explanation")))
    field = {name.strip().lower(): value.strip() for name, _, value in lines}
    package = field.get("package", "")
    if not _PIN.search(package) or "pin" not in field:
        return None
    return {"package": package, "pin": field["pin"], "priority": field.get("pin-priority", ""), "file": path}


def settings(tree: Tree) -> Dict[str, List[str]]:
    """Return apt's settings by their whole name in small letters, each with its values in the order of the files."""
    folder = "/etc/apt/apt.conf.d"
    names = [name for name in tree.some_names(folder) if "." not in name or name.endswith(".conf")]
    found: Dict[str, List[str]] = {}
    for path in [*(f"{folder}/{name}" for name in names), "/etc/apt/apt.conf"]:
        if tree.exists(path):
            for name, value in _parsed(tree.text(path)):
                found.setdefault(name, []).append(value)
    return found


def _parsed(text: str) -> List[Tuple[str, str]]:
    """Read `A::B "x";` and `A { B "x"; "y"; };` alike; a list's own entries count for its name."""
    found: List[Tuple[str, str]] = []
    scope: List[str] = []
    name, value = "", None
    for match in _TOKEN.finditer(text):
        quoted, mark, word = match.groups()
        if mark == "{":
            scope.append(name)
            name, value = "", None
        elif mark in (";", "}"):
            if value is not None:
                found.append(("::".join(part for part in (*scope, name) if part).rstrip(":").lower(), value))
            if mark == "}" and scope:
                scope.pop()
            name, value = "", None
        elif quoted is not None:
            value = quoted
        elif word and not name:
            name = word
        elif word:
            value = word
    return found
