# SPDX-License-Identifier: Apache-2.0
"""Which CUDA libraries a service has really loaded, from the maps of its processes: what it answers with."""

import re
from typing import Dict, List, Sequence, Set

from chaosgpu.agent.facts.cuda import family
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from chaosgpu.agent.facts.wheels import wheel_version
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["services"]

_MOST_PROCESSES = 512
_BY_PID = re.compile(r"pid:(\d+)")
_DELETED = " (deleted)"


def services(tree: Tree, named: Sequence[str]) -> Answer:
    """Return, for each unit (or pid:N), its libraries by family: path, version, and whether the file is still there."""
    answer = Answer()
    units = [name for name in named if not _BY_PID.fullmatch(name)]
    pids = _pids_of_units(tree, units) if units else {}
    for name in named:
        match = _BY_PID.fullmatch(name)
        found = pids[name] if match is None else [int(match.group(1))] * tree.exists(f"/proc/{match.group(1)}")
        try:
            answer.values[name] = _loaded(tree, name, found)
        except UnknownFact as why:
            answer.unknown[name] = str(why)
    return answer


def _pids_of_units(tree: Tree, units: Sequence[str]) -> Dict[str, List[int]]:
    """Return the processes of each unit: those in its control group, or in one below it."""
    found: Dict[str, List[int]] = {unit: [] for unit in units}
    for name in tree.names("/proc"):
        if not name.isdigit():
            continue
        try:
            groups = tree.text(f"/proc/{name}/cgroup")
        except UnknownFact:
            continue  # it has ended meanwhile
        parts = {part for line in groups.splitlines() for part in line.rpartition(":")[2].split("/")}
        for unit in parts.intersection(found):
            found[unit].append(int(name))
    return found


def _loaded(tree: Tree, service: str, pids: Sequence[int]) -> JsonObject:
    if not pids:
        raise UnknownFact(f"no process runs in {service}: is that its whole name, and is it up?")
    if len(pids) > _MOST_PROCESSES:
        raise UnknownFact(f"{service} has {len(pids)} processes, and more than {_MOST_PROCESSES} are not looked at")
    try:
        maps = {(pid, path) for pid in pids for path in _mapped(tree, pid)}
    except UnknownFact as why:
        raise UnknownFact(f"not every process of {service} can be looked into: {why}; ask as root") from why
    seen: Dict[str, Dict[str, JsonValue]] = {}
    for pid, path in sorted(maps):
        real = path.removesuffix(_DELETED)
        seen.setdefault(family(real), {}).setdefault(path, _entry(tree, pid, real, path != real))
    found: JsonObject = {name: list(entries.values()) for name, entries in sorted(seen.items())}
    return found


def _mapped(tree: Tree, pid: int) -> Set[str]:
    """Return the files of our families that a process has mapped."""
    found: Set[str] = set()
    try:
        raw = tree.read(f"/proc/{pid}/maps")
    except UnknownFact:
        if tree.exists(f"/proc/{pid}/maps"):
            raise
        return found  # it has ended meanwhile
    for line in raw.decode(errors="replace").splitlines():
        path = line[line.find("/") :] if "/" in line else ""
        if path and family(path):
            found.add(path)
    return found


def _entry(tree: Tree, pid: int, path: str, deleted: bool) -> JsonValue:
    """Describe one file; its version is in its name, or in the wheel that it came with."""
    entry: JsonObject = {"path": path, "deleted": deleted}
    version = path.rpartition("/")[2].partition(".so.")[2]
    if "." not in version:
        # The process may see another root than ours, as one in a container does.
        version = wheel_version(Tree(f"{tree.root}/proc/{pid}/root"), path) or version
    entry["version"] = version or None
    return entry
