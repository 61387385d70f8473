# SPDX-License-Identifier: Apache-2.0
"""Device nodes and one unit: their numbers, the list that permits all others, and whether the unit can open them.

A device policy can only permit, so denying some nodes means permitting every other by its number.
"""

import errno
import os
import select
import signal
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Dict, Iterable, List, Sequence, Tuple

from chaosgpu.agent.errors import Refused, Unanswered
from chaosgpu.agent.faults.unit_state import UnitState, group_folder

__all__ = ["Node", "nvidia_nodes", "permitted", "tried"]

DEVICES = "/proc/devices"
ANSWER_WITHIN_S = 5.0
# What DevicePolicy=closed permits by itself (systemd.resource-control), written out, since ours permits nothing.
_PSEUDO = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx")
_PSEUDO_TERMINALS = "char-pts rw"
_ALL = "rwm"


@dataclass(frozen=True)
class Node:
    """One character device: its path and its numbers."""

    path: str
    major: int
    minor: int


def nvidia_nodes(folder: str = "/dev") -> List[Node]:
    """Return every node of NVIDIA's driver."""
    return [node for node in _nodes(folder) if node.path.startswith(f"{folder}/nvidia")]


def permitted(state: UnitState, denied: Sequence[Node], folder: str = "/dev") -> List[str]:
    """Return the DeviceAllow= lines that permit the unit what it has now, but not these nodes."""
    numbers = {(node.major, node.minor) for node in denied}
    policy, listed = state.text("DevicePolicy"), [entry for entry in state.shown.get("DeviceAllow", ()) if entry]
    if policy == "auto" and not listed:
        listed = [f"char-{major} {_ALL}" for major in sorted(_majors())] + [f"block-* {_ALL}"]
    elif policy != "strict":
        listed = [*listed, *(f"{path} {_ALL}" for path in _PSEUDO), _PSEUDO_TERMINALS]
    found: List[str] = []
    for entry in listed:
        path, _, access = entry.partition(" ")
        found += [f"{kept} {access or _ALL}" for kept in _without(path, numbers, folder)]
    return sorted(set(found))


def tried(state: UnitState, paths: Sequence[str]) -> Dict[str, int]:
    """Open each node from inside the unit's control group; return the error numbers, 0 where it could be opened.

    A child of ours joins the group for that moment. Unanswered where it could not join or gave no answer in time.
    """
    group = _folder_with_processes(state)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, _open_all(f"{group}/cgroup.procs", paths))
        finally:
            os._exit(0)  # never back into the caller's code, whatever happened
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], ANSWER_WITHIN_S)
        answer = os.read(reading, 65536).split() if ready else []
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if len(answer) != len(paths):
        raise Unanswered(
            f"No process could be put into the control group {group} to see what it can open: nobody would know "
            "whether the devices are denied."
        )
    return {path: int(code) for path, code in zip(paths, answer)}


def _open_all(procs: str, paths: Iterable[str]) -> bytes:
    codes = []
    try:
        with open(procs, "w", encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            file.write("0")
    except OSError:
        return b""
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            codes.append(0)
        except OSError as error:  # noqa: PERF203 (a few nodes)
            codes.append(error.errno or errno.EIO)
    return " ".join(map(str, codes)).encode()


def _folder_with_processes(state: UnitState) -> str:
    """Return the unit's group, or one below it that has the processes: only such a group takes another."""
    top = group_folder(state)
    for folder, _, files in os.walk(top):
        if "cgroup.procs" in files:
            with open(f"{folder}/cgroup.procs", encoding="ascii") as file:  # noqa: PTH123 (as above)
                if file.read(1):
                    return folder
    raise Refused(f"{state.id} has no process, so nobody could see what it can open.")


def _without(path: str, denied: "set[Tuple[int, int]]", folder: str) -> List[str]:
    """Return what is left of one entry: itself, or where it covers a denied node every other node that it covers."""
    kind, _, name = path.partition("-")
    if kind == "block":
        return [path]
    if kind != "char":
        numbers = {(node.major, node.minor) for node in _nodes(folder) if node.path == path}
        return [] if numbers & denied else [path]
    covered = {major for major, names in _majors().items() if _covers(name, major, names)}
    touched = covered & {major for major, _ in denied}
    if not touched:
        return [path]
    others = [node.path for node in _nodes(folder) if node.major in touched and (node.major, node.minor) not in denied]
    return [*others, *(f"char-{major}" for major in sorted(covered - touched))]


def _covers(pattern: str, major: int, names: Sequence[str]) -> bool:
    return pattern == str(major) or any(fnmatchcase(name, pattern) for name in names)


def _majors() -> Dict[int, List[str]]:
    """Return the major numbers of character devices that the kernel knows, with their names."""
    found: Dict[int, List[str]] = {}
    with open(DEVICES, encoding="ascii") as file:  # noqa: PTH123 (as above)
        characters = file.read().partition("Block devices")[0]
    for line in characters.splitlines()[1:]:
        number, _, name = line.strip().partition(" ")
        if number.isdigit():
            found.setdefault(int(number), []).append(name)
    return found


def _nodes(folder: str) -> List[Node]:
    """Return every character device below a folder."""
    found = []
    for where, _, names in os.walk(folder):
        for name in sorted(names):
            path = f"{where}/{name}"
            try:
                seen = os.lstat(path)
            except OSError:
                continue  # gone since
            if stat.S_ISCHR(seen.st_mode):
                found.append(Node(path, os.major(seen.st_rdev), os.minor(seen.st_rdev)))
    return found
