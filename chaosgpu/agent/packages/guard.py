# SPDX-License-Identifier: Apache-2.0
"""Guards on a driver: a pin against what apt would choose and a hold against what it is told; each alone lets pass.

A pin passes what names a version, a removal, and a package file; a hold passes --allow-change-held-packages. `dpkg -i`
passes both, and takes the hold with it: only a look afterwards finds that.
"""

from pathlib import Path
from typing import Dict, Iterable, List, Mapping

from chaosgpu.agent.errors import StoreFailed
from chaosgpu.agent.packages.facts import look
from chaosgpu.agent.packages.locks import wait_free
from chaosgpu.agent.packages.marks import set_wanted
from chaosgpu.agent.packages.policy import pins
from chaosgpu.agent.packages.rpm import locking
from chaosgpu.agent.packages.stage import sync_file
from chaosgpu.agent.packages.tools import Tools

__all__ = [
    "GUARD_PRIORITY", "PLACE", "clear", "gaps", "guard", "hold", "pin", "place_of", "preferences", "unguard",
]  # fmt: skip

PLACE = "/etc/apt/preferences.d/00-chaosgpu"
GUARD_PRIORITY = 1001  # over NVIDIA's own pinning packages, and enough for a downgrade
_LOCK_S = 30.0


def preferences(versions: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Return what pins these packages."""
    return "# chaosgpu: packages that must not move.\n\n" + pins(versions, sources, GUARD_PRIORITY)


def place_of(tools: Tools) -> str:
    """Return the file that pins: one of ours for apt, the list of locks of dnf's plugin, which others fill too."""
    return locking.PLACE if tools.rpm else PLACE


def pin(tools: Tools, text: str) -> None:
    """Have apt read these preferences: whole or not at all."""
    path = tools.path(place_of(tools))
    new = _new(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        sync_file(new)
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        raise StoreFailed(f"{path} cannot be written: {error.strerror}.") from error


def clear(tools: Tools) -> None:
    """Remove what one who was killed in `pin` had begun to write."""
    _new(tools.path(place_of(tools))).unlink(missing_ok=True)


def _new(path: Path) -> Path:
    return path.with_name("." + path.name + ".new")  # apt does not read names with a dot before


def hold(tools: Tools, names: Iterable[str]) -> None:
    """Hold those of these packages that are there; with dnf a lock does both, and stands already."""
    if tools.rpm:
        return
    facts = look(tools)
    set_wanted(tools, [(name, "hold") for name in sorted(names) if facts.there(name) is not None])


def guard(tools: Tools, versions: Mapping[str, str]) -> List[str]:
    """Pin and hold these packages; return what is not guarded afterwards, which is nothing where it went well."""
    wait_free(tools, _LOCK_S)
    if tools.rpm:
        pin(tools, locking.text_with(tools, versions))
        return gaps(tools, versions)
    packages = look(tools).packages
    pin(tools, preferences(versions, {name: packages[name].source for name in versions if name in packages}))
    hold(tools, versions)
    return gaps(tools, versions)


def unguard(tools: Tools, names: List[str]) -> None:
    """Take our pins and these holds away."""
    wait_free(tools, _LOCK_S)
    if tools.rpm:
        pin(tools, locking.text_without(tools, names))
        return
    tools.path(PLACE).unlink(missing_ok=True)
    held = look(tools).held()
    set_wanted(tools, [(name, "install") for name in names if name in held])


def gaps(tools: Tools, versions: Mapping[str, str]) -> List[str]:
    """Return a sentence for each package that is not at its version, not held, or not pinned to it."""
    facts = look(tools)
    chosen = {} if tools.rpm else _candidates(tools, versions)
    locks = locking.locked(tools) if tools.rpm else {}
    found = []
    for name, version in sorted(versions.items()):
        one = facts.there(name)
        if one is None:
            found.append(f"{name} is not installed, and should be {version}")
            continue
        if one.version != version:
            found.append(f"{name} is {one.version}, and should be {version}")
        if tools.rpm:
            found += locking.open_to(name, version, locks)
            continue
        if one.want != "hold":
            found.append(f"{name} is not held")
        if chosen.get(name) != version:
            found.append(f"{name}: apt would choose {chosen.get(name)}, and {version} is pinned")
    return found


def _candidates(tools: Tools, versions: Mapping[str, str]) -> Dict[str, str]:
    said = tools.run(tools.apt("apt-cache", "policy", *sorted(versions)), 60.0)
    found: Dict[str, str] = {}
    name = ""
    for line in said.out.splitlines():
        if line and not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("Candidate:"):
            found[name] = line.split(":", 1)[1].strip()
    return found
