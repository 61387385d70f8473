# SPDX-License-Identifier: Apache-2.0
"""Whether dnf installs updates by itself: which of its timers is enabled, and what the service behind it does.

dnf 4 and dnf 5 name units and files differently, so the command of the service decides, and not its name.
"""

import re
from typing import Dict, List, Optional, Tuple

from chaosgpu.agent.facts.dnf_files import Sections, chosen, excluded, sections
from chaosgpu.agent.facts.tree import Tree, UnknownFact

__all__ = ["applied", "left_alone"]

# The first that has a unit decides; in each, UNIT.wants/ holds a link to what is enabled.
_UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
_TIMER = re.compile(r"dnf5?-automatic(-[a-z]+)?\.timer")
_CONF = "/etc/dnf/automatic.conf"
# dnf 5 reads what it ships first; until 5.2 the host's own file was below dnf5-plugins.
_OF_DNF5 = ("/usr/share/dnf5/dnf5-plugins/automatic.conf", "/etc/dnf/dnf5-plugins/automatic.conf", _CONF)
# As dnf 4 and dnf 5 have it; anything else that somebody has put there is unknown.
_COMMAND = re.compile(r"\S*/(dnf-automatic\S*|dnf5?\s+(.*\s)?automatic)(\s|$)")
_MASK = "/dev/null"
_INSTALLS, _LEAVES = "--installupdates", "--no-installupdates"


def applied(tree: Tree) -> bool:
    """Return whether an enabled timer has dnf install updates."""
    return True in {_installs(tree, command) for command in _commands(tree)}  # of each it must be known


def left_alone(tree: Tree) -> List[str]:
    """Return the patterns that all such updates leave out beside those that dnf leaves out for everybody."""
    each: List[List[str]] = []
    for command in _commands(tree):
        if _installs(tree, command):
            base = [(path, sections(tree, path).get("base", {})) for path in _files(tree, command)]
            each.append([one for path, said in base for one, _ in excluded(said, path)])
    return [one for one in dict.fromkeys(each[0]) if all(one in other for other in each)] if each else []


def _installs(tree: Tree, command: List[str]) -> bool:
    told = [word for word in command if word in (_INSTALLS, _LEAVES)]
    if told:
        return told[-1] == _INSTALLS
    said = False
    for path in _files(tree, command):
        said = chosen(sections(tree, path).get("commands", {}), "apply_updates", said, path)
    return said


def _files(tree: Tree, command: List[str]) -> List[str]:
    """Return the files that say what a command does, the later one having the last word."""
    named = [word for word in command[1:] if word.startswith("/")]
    usual = _OF_DNF5 if "automatic" in command else (_CONF,)
    return named[-1:] or [path for path in usual if tree.exists(path)]


def _commands(tree: Tree) -> List[List[str]]:
    """Return the commands that enabled timers start; UnknownFact where one starts none that is known."""
    found: List[List[str]] = []
    for timer in dict.fromkeys(_named(tree, name) for name in _enabled(tree)):
        said = _unit(tree, timer)
        if said is None:
            continue  # it is masked, or its package is gone and the link was left
        service = said.get("Timer", {}).get("Unit") or timer.replace(".timer", ".service")
        starts = (_unit(tree, service) or {}).get("Service", {}).get("ExecStart", "")
        known = [line.split() for line in starts.splitlines() if _COMMAND.match(line)]
        if not known:
            does = starts or "it starts nothing"
            raise UnknownFact(f"{timer} is enabled, and what {service} does is not known: {does}")
        found += known
    return found


def _enabled(tree: Tree) -> List[str]:
    """Return the names of our timers that some unit wants: a link to /dev/null takes back one of a later folder."""
    found: Dict[Tuple[str, str], bool] = {}
    for folder in _UNITS:
        for wanting in tree.some_names(folder):
            if wanting.endswith((".wants", ".requires")):
                for name in tree.some_names(f"{folder}/{wanting}"):
                    if _TIMER.fullmatch(name):
                        place = tree.real(f"{folder}/{wanting}/{name}")
                        found.setdefault((wanting, name), place != _MASK)
    return sorted({name for (_, name), wanted in found.items() if wanted})


def _place(tree: Tree, name: str) -> Optional[str]:
    places = (f"{folder}/{name}" for folder in _UNITS)
    return next((place for place in places if tree.real(place) == _MASK or tree.exists(place)), None)


def _named(tree: Tree, timer: str) -> str:
    """Return a timer's own name where this one is an alias."""
    place = _place(tree, timer)
    own = timer if place is None else tree.split(place)[1]
    return own if _TIMER.fullmatch(own) else timer


def _unit(tree: Tree, name: str) -> Optional[Sections]:
    """Return what a unit says with its drop-ins; None where there is none or it is masked."""
    place = _place(tree, name)
    if place is None or tree.real(place) == _MASK or not tree.text(place):
        return None  # systemd takes an empty file for a mask, too
    added: Dict[str, str] = {}
    for folder in reversed(_UNITS):
        own = f"{folder}/{name}.d"
        added.update({file: f"{own}/{file}" for file in tree.some_names(own) if file.endswith(".conf")})
    found: Sections = {}
    for one in (place, *(added[file] for file in sorted(added))):
        _add(found, tree.text(one))
    return found


def _add(found: Sections, text: str) -> None:
    """Add the lines of a unit file: of a name the last one counts, but of commands all, until an empty one."""
    section: Dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        name, sign, value = (part.strip() for part in line.partition("="))
        if name.startswith("[") and name.endswith("]"):
            section = found.setdefault(name[1:-1], {})
        elif sign and not name.startswith(("#", ";")):
            before = section.get(name, "") if name == "ExecStart" and value else ""
            section[name] = f"{before}\n{value.lstrip('-@:+!')}".strip()
