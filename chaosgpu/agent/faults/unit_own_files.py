# SPDX-License-Identifier: Apache-2.0
"""Whether a file is one unit's own, so that nobody else is hit when it vanishes. Unknown means refuse.

It is, if it belongs to a user that the unit's processes run as, lies below a folder that the unit works in (a process
stands in it or has a file open for writing in it, or the unit's own settings name it), is seen by the unit at the same
path, and is open in no process of anybody else. That fits Chroma (its sqlite file is open beside its indexes),
PostgreSQL (it stands in its data folder) and Milvus Lite (its log of writes is open in its own).
"""

import os
import stat
from typing import Dict, Iterator, Sequence, Set, Tuple

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.aside import PREFIX
from chaosgpu.agent.faults.file_holders import holders, link, names, text
from chaosgpu.agent.faults.unit_state import UnitState, members, show
from chaosgpu.agent.systemd import Systemd

__all__ = ["mount_of", "refuse_foreign", "top_of"]

# Of others it is not known who else uses the file, or a reboot takes both the file and what is aside.
_KINDS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "overlay")
_NEVER = (
    "/bin", "/boot", "/dev", "/efi", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var/lib/apt", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/systemd", "/var/lib/chaosgpu",
)  # fmt: skip
# Everybody's: that a process works there says nothing of what else lies there.
_SHARED = (
    "/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var", "/var/cache", "/var/lib", "/var/log",  # noqa: S108 (never taken)
    "/var/spool", "/var/tmp",  # noqa: S108 (as above)
)  # fmt: skip
_SETTINGS = {
    "WorkingDirectory": "",
    "StateDirectory": "/var/lib/",
    "CacheDirectory": "/var/cache/",
    "ReadWritePaths": "",
}
_WRITES = os.O_WRONLY | os.O_RDWR


def refuse_foreign(paths: Sequence[str], state: UnitState, systemd: Systemd, home: str) -> None:
    """Refuse every path that is not known to be this unit's own; `home` is the agent's own folder."""
    pids = [who.pid for who in members(state)]
    if not pids:
        raise Refused(f"{state.id} has no process, so nobody can tell which files are its own; nothing was touched.")
    users, folders = {user for pid in pids for user in _users(pid)}, _folders(state, pids, systemd)
    for path in paths:
        found = _plain(path)
        _refuse_place(path, found, home)
        if found.st_uid not in users:
            raise Refused(
                f"{path} belongs to user {found.st_uid} and {state.id} runs as {', '.join(map(str, sorted(users)))}: "
                "it is not its own file; nothing was touched."
            )
        if not any(path.startswith(f"{folder}/") for folder in folders):
            raise Refused(
                f"{path} is below no folder that {state.id} works in ({', '.join(sorted(folders)) or 'none is known'}"
                "); nothing was touched."
            )
        _refuse_unseen(path, found, state, pids[0])
        top = top_of(path)
        if 0 in users and any(f"{top}/".startswith(f"{folder}/") for folder in folders):
            raise Refused(
                f"{state.id} runs as root and works in {top}, the highest folder of its file system, so what is set "
                "aside there would not be safe from it: databases remove files that they do not know. Give it a user "
                "of its own, or its data a folder below that. Nothing was touched."
            )
    others = holders(paths, set(pids))
    if others:
        raise Refused(f"Others than {state.id} have its files open ({_told(others)}); nothing was touched.")


def mount_of(path: str) -> Tuple[str, str]:
    """Return where the file system that a path is on is mounted, and its type; both empty where none is known."""
    best = ("", "")
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 (as above)
        for line in file:
            _, point, kind = line.split(" ")[:3]
            point = point.replace("\\040", " ")
            if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
                best = (point, kind)
    return best


def top_of(path: str) -> str:
    """Return the highest folder to which a file can be renamed: of the same mount and the same device."""
    point, _ = mount_of(path)
    top = os.path.dirname(path)  # noqa: PTH120 (as above)
    device = os.stat(top).st_dev  # noqa: PTH116 (as above)
    while top != point and os.stat(os.path.dirname(top)).st_dev == device:  # noqa: PTH116, PTH120 (as above)
        top = os.path.dirname(top)  # noqa: PTH120 (as above)
    return top


def _plain(path: str) -> os.stat_result:
    try:
        found, real = os.stat(path, follow_symlinks=False), os.path.realpath(path)  # noqa: PTH116 (as above)
    except OSError as error:
        raise Refused(f"{path} cannot be looked at: {error.strerror}; nothing was touched.") from error
    if real != path:
        raise Refused(f"{path} leads by a link to {real}: name that, if it is meant. Nothing was touched.")
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise Refused(f"{path} is no plain file with one name ({found.st_nlink} names); nothing was touched.")
    return found


def _refuse_place(path: str, found: os.stat_result, home: str) -> None:
    below = [one for one in (*_NEVER, home) if path.startswith(f"{one}/")]
    if below:
        raise Refused(f"{path} is below {below[0]}, which no database has its files in; nothing was touched.")
    if f"/{PREFIX}" in path:
        raise Refused(f"{path} is a file that another lease has set aside: undo that first. Nothing was touched.")
    if os.stat(os.path.dirname(path)).st_dev != found.st_dev:  # noqa: PTH116, PTH120 (as above)
        raise Refused(f"{path} is mounted by itself, so it cannot be renamed; nothing was touched.")
    _, kind = mount_of(path)
    if kind not in _KINDS:
        raise Refused(
            f"{path} is on a file system of type {kind or 'unknown'}, and files are set aside on {', '.join(_KINDS)} "
            "only: of others nobody knows who else uses them, or they do not outlive a reboot. Nothing was touched."
        )


def _refuse_unseen(path: str, found: os.stat_result, state: UnitState, pid: int) -> None:
    """Refuse where the unit has a root or mounts of its own and sees another file there."""
    try:
        seen = os.stat(f"/proc/{pid}/root{path}", follow_symlinks=False)  # noqa: PTH116 (as above)
    except OSError as error:
        raise Refused(f"{state.id} cannot be asked for {path}: {error.strerror}; nothing was touched.") from error
    if (seen.st_dev, seen.st_ino) != (found.st_dev, found.st_ino):
        raise Refused(f"{state.id} sees another file at {path} than the host does; nothing was touched.")


def _folders(state: UnitState, pids: Sequence[int], systemd: Systemd) -> Set[str]:
    found = {folder for pid in pids for folder in _works_in(pid)}
    for line in show(systemd, tuple(_SETTINGS), "--", state.id).splitlines():
        name, _, words = line.partition("=")
        found |= {os.path.normpath(_SETTINGS.get(name, "") + word.lstrip("!-+")) for word in words.split()}
    return {folder for folder in found if folder.startswith("/") and folder not in (*_SHARED, *_NEVER)}


def _works_in(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    yield link(f"/proc/{pid}/cwd")
    for number in names(folder):
        path, flags = link(f"{folder}/{number}"), _flags(pid, number)
        if path.startswith("/") and not path.endswith(" (deleted)") and flags & _WRITES:
            yield os.path.dirname(path)  # noqa: PTH120 (as above)


def _flags(pid: int, number: str) -> int:
    for line in text(f"/proc/{pid}/fdinfo/{number}").splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8)
    return 0


def _users(pid: int) -> Iterator[int]:
    """Yield the user that a process works as, and the one that its files get."""
    for line in text(f"/proc/{pid}/status").splitlines():
        if line.startswith("Uid:"):
            yield from (int(word) for word in line.split()[2:5:2])


def _told(others: Dict[int, str]) -> str:
    return ", ".join(f"process {pid} has {path}" for pid, path in sorted(others.items())[:5])
