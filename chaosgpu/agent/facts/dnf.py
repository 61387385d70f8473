# SPDX-License-Identifier: Apache-2.0
"""What holds packages where they are, and what moves them by itself: dnf's excludes and dnf-automatic.

Told under the names that apt's have, so that one lock file and one rule are for both. Locks of versionlock are holds
(`rpms`), and an exclude is the pin: no repository's version of the package is seen any more.
"""

import re
from fnmatch import fnmatchcase
from typing import Dict, Iterator, List, Optional, Tuple

from chaosgpu.agent.facts.dnf_automatic import applied, left_alone
from chaosgpu.agent.facts.dnf_files import chosen, excluded, items, sections
from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree, put
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["dnf"]

_PIN = re.compile(r"nvidia|cuda|cudnn|nccl|nvinfer|tensorrt|kernel|kmod|dkms|^[*?]+$")
_CONF = "/etc/dnf/dnf.conf"
# Of dnf 5 alone, read before dnf.conf; a file of /etc stands for one of the same name.
_DROP_INS = ("/etc/dnf/libdnf5.conf.d", "/usr/share/dnf5/libdnf.conf.d")
_OVERRIDES = ("/etc/dnf/repos.override.d", "/usr/share/dnf5/repos.override.d")
_REPOSITORIES = "/etc/yum.repos.d /etc/yum/repos.d /etc/distro.repos.d"
_MAIN = "main"


def dnf(tree: Tree, found: Optional[Packages]) -> Answer:
    """Return pins, unattended_upgrades and what these leave alone; `found` is None where packages are unknown."""
    answer = Answer()
    put(answer, "pins", lambda: _pins(tree, tuple(found.versions) if found else ()))
    put(answer, "unattended_upgrades", lambda: applied(tree))
    put(answer, "blacklist", lambda: [*left_alone(tree)])
    return answer


def _pins(tree: Tree, installed: Tuple[str, ...]) -> JsonValue:
    """Return the excludes that may concern us: {"package", "pin", "file"}, with "repository" where it is of one."""
    five = tree.real("/usr/bin/dnf").endswith("/dnf5")
    main: Dict[str, str] = {}
    everywhere: List[Tuple[str, str]] = []
    for path in _parts(tree, _DROP_INS if five else (), ".conf") + [_CONF] * tree.exists(_CONF):
        said = sections(tree, path).get(_MAIN, {})
        main.update(said)
        everywhere = excluded(said, path, everywhere)
    overrides = _parts(tree, _OVERRIDES if five else (), ".repo")
    pins = [(_MAIN, *one) for one in everywhere]
    pins += _of_repositories(tree, items(main.get("reposdir", _REPOSITORIES)), overrides)
    unheeded = {*items(main.get("disable_excludes", ""))}
    return [
        _told(where, pattern, path)
        for where, pattern, path in dict.fromkeys(pins)
        if not {"all", "*", where} & unheeded and _concerns(pattern, installed)
    ]


def _of_repositories(tree: Tree, folders: List[str], overrides: List[str]) -> Iterator[Tuple[str, str, str]]:
    """Yield the excludes of every repository that is in use."""
    over = [(path, sections(tree, path)) for path in overrides]
    paths = [f"{folder}/{name}" for folder in folders for name in tree.some_names(folder) if name.endswith(".repo")]
    for path in paths:
        for name, settings in sections(tree, path).items():
            added = [(place, one[glob]) for place, one in over for glob in one if fnmatchcase(name, glob)]
            used = True
            found: List[Tuple[str, str]] = []
            for place, said in ((path, settings), *added):
                used = chosen(said, "enabled", used, place)
                found = excluded(said, place, found)
            if used and name != _MAIN:
                yield from ((name, *one) for one in found)


def _parts(tree: Tree, folders: Tuple[str, ...], ending: str) -> List[str]:
    """Return the files of folders of parts, by name."""
    places: Dict[str, str] = {}
    for folder in reversed(folders):
        places.update({name: f"{folder}/{name}" for name in tree.some_names(folder) if name.endswith(ending)})
    return [places[name] for name in sorted(places)]


def _concerns(pattern: str, installed: Tuple[str, ...]) -> bool:
    return bool(_PIN.search(pattern)) or any(fnmatchcase(name, pattern) for name in installed)


def _told(where: str, pattern: str, path: str) -> JsonObject:
    if where == _MAIN:
        return {"package": pattern, "pin": "excluded", "file": path}
    return {"package": pattern, "pin": f"excluded from {where}", "repository": where, "file": path}
