# SPDX-License-Identifier: Apache-2.0
"""The list of locks of dnf's versionlock plugin: which version of a package an upgrade may come to, and no other.

It stops what dnf would choose and what it is told. `rpm -U`, `dnf remove` and `--disableplugin=versionlock` pass it.
"""

import re
from typing import Dict, FrozenSet, Iterable, List, Mapping, Optional, Set

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.packages.tools import Tools

__all__ = ["PLACE", "locked", "open_to", "text_with", "text_without"]

PLACE = "/etc/dnf/plugins/versionlock.list"
_CONF = "/etc/dnf/plugins/versionlock.conf"
_LINE = re.compile(r"(\S+)-(\d+):([^-\s]+-[^-\s]+)\.\*")
_OURS = "# chaosgpu: packages that must not move."


def locked(tools: Tools) -> Dict[str, Set[str]]:
    """Return the versions at which each package is locked, as rpm spells them: no epoch where it is 0."""
    found: Dict[str, Set[str]] = {}
    for line in _lines(tools) if _why_not(tools) is None else ():
        match = _LINE.fullmatch(line.strip())
        if match:
            epoch = "" if match[2] == "0" else f"{match[2]}:"
            found.setdefault(match[1], set()).add(epoch + match[3])
    return found


def text_with(tools: Tools, versions: Mapping[str, str]) -> str:
    """Return the list with these packages locked at these versions and at no other; all else in it stays."""
    why_not = _why_not(tools)
    if why_not is not None:
        raise Refused(
            f"dnf's versionlock plugin keeps no package from moving on this host: {why_not}; nothing was changed."
        )
    kept = [line for line in text_without(tools, versions).splitlines() if line != _OURS]
    ours = [f"{name}-{version if ':' in version else f'0:{version}'}.*" for name, version in sorted(versions.items())]
    return "\n".join([*kept, _OURS, *ours]) + "\n"


def text_without(tools: Tools, names: Iterable[str]) -> str:
    """Return the list without the locks of these packages."""
    listed = frozenset(names)
    return "".join(f"{line}\n" for line in _lines(tools) if not _is_of(line.strip(), listed))


def open_to(name: str, version: str, locks: Mapping[str, Set[str]]) -> List[str]:
    """Return what lets a package move from this version, as sentences."""
    there = locks.get(name, set())
    others = sorted(there - {version})
    found = [] if version in there else [f"{name} is not locked at {version}"]
    return found + [f"{name} is locked at {other} too, so dnf may bring it there" for other in others]


def _why_not(tools: Tools) -> Optional[str]:
    """Say why no lock would be heeded; None where they are."""
    try:
        text = tools.path(_CONF).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return f"{_CONF} is not there, install python3-dnf-plugin-versionlock"
    pairs = (line.partition("=")[::2] for line in text.splitlines() if "=" in line and not line.startswith("#"))
    said = {key.strip(): value.strip() for key, value in pairs}
    if said.get("enabled", "1").lower() in ("0", "no", "false", "off"):
        return f"it is turned off in {_CONF}"
    if said.get("locklist", PLACE) != PLACE:
        return f"{_CONF} names another list than {PLACE}"
    return None


def _is_of(line: str, names: FrozenSet[str]) -> bool:
    match = _LINE.fullmatch(line)
    return match is not None and match[1] in names


def _lines(tools: Tools) -> List[str]:
    try:
        return tools.path(PLACE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
