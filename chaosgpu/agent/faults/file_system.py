# SPDX-License-Identifier: Apache-2.0
"""Which file system a folder is on, whether it may be filled at all, and how much of it is free, and for whom."""

import os
import re
from dataclasses import dataclass
from typing import Tuple

from chaosgpu.agent.errors import Refused

__all__ = ["IN_MEMORY", "MIB", "WITHOUT_FALLOCATE", "FileSystem", "Space", "mounted_on", "space_of"]

MIB = 1 << 20
IN_MEMORY = "tmpfs"
WITHOUT_FALLOCATE = ("ext2", "ext3")
# Of others it is not known that a file takes what it is given: zfs compresses, overlay and fuse lie on another one, and
# a network file system belongs to other hosts, too.
_KINDS = (*WITHOUT_FALLOCATE, "ext4", "xfs", "btrfs", "f2fs", IN_MEMORY)
_MOUNTS = "/proc/self/mountinfo"
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Space:
    """Bytes of a file system; what is kept for root is free for root alone."""

    total: int
    free_for_users: int
    free_for_root: int

    def free(self, *, root: bool) -> int:
        """Return what is free for root, or for everybody else."""
        return self.free_for_root if root else self.free_for_users

    def used_percent(self, *, root: bool) -> float:
        """Return what `df` shows under Use%: used, of what is used or free for users (or for root)."""
        used = self.total - self.free_for_root
        reachable = used + self.free(root=root)
        return round(100 * used / reachable, 2) if reachable else 100.0


@dataclass(frozen=True)
class FileSystem:
    """One mounted file system: `top` is the highest folder of it that is reached from the one that was named."""

    top: str
    kind: str
    device: int
    serial: int  # the kernel's own id of it: with ext4 and btrfs the same after a reboot
    inode: int  # of `top`

    @property
    def claim(self) -> str:
        """Name it for a claim: by its device, whichever folder of it is named."""
        return f"disk:{os.major(self.device)}-{os.minor(self.device)}:space"

    @property
    def is_root(self) -> bool:
        """Tell whether the host itself lives on it."""
        return self.device == os.stat("/").st_dev  # noqa: PTH116 (pathlib costs 9 ms at start)


def mounted_on(folder: str) -> FileSystem:
    """Return the file system of a folder; Refused for what is no folder, or only a link to one."""
    try:
        found = os.stat(folder)  # noqa: PTH116 (as above)
        if not os.path.isdir(folder):  # noqa: PTH112 (as above)
            raise Refused(f"{folder} is no folder; nothing was changed.")
        real = os.path.realpath(folder)
    except OSError as error:
        raise Refused(f"The folder {folder} cannot be looked at: {error.strerror}; nothing was changed.") from error
    if real != folder:
        raise Refused(f"{folder} leads by a link to {real}: name that, if it is meant. Nothing was changed.")
    point, kind = _mount_of(folder)
    top = folder
    while top != point and os.stat(os.path.dirname(top)).st_dev == found.st_dev:  # noqa: PTH116, PTH120 (as above)
        top = os.path.dirname(top)  # noqa: PTH120 (as above)
    about, whole = os.stat(top), os.statvfs(top)  # noqa: PTH116 (as above)
    if kind not in _KINDS:
        raise Refused(
            f"{folder} is on a file system of type {kind} (mounted at {point}), and this fault fills "
            f"{', '.join(_KINDS)} only: of others it is not known what a file of ours takes. Nothing was changed."
        )
    if whole.f_flag & os.ST_RDONLY:
        raise Refused(f"{folder} is on a file system that is mounted read-only (at {point}); nothing was changed.")
    if whole.f_blocks != os.statvfs(folder).f_blocks:
        raise Refused(
            f"{folder} has a limit of its own (a project quota), so filling the file system at {top} would not be what "
            "it sees; nothing was changed."
        )
    return FileSystem(top, kind, about.st_dev, whole.f_fsid, about.st_ino)


def space_of(folder: str) -> Space:
    """Read how much is free, as who works in this folder sees it."""
    found = os.statvfs(folder)
    unit = found.f_frsize
    return Space(found.f_blocks * unit, found.f_bavail * unit, found.f_bfree * unit)


def _mount_of(folder: str) -> Tuple[str, str]:
    """Return where the file system of a folder is mounted, and its type; of several at one place the last counts."""
    best = ("", "")
    with open(_MOUNTS, "rb") as file:  # noqa: PTH123 (as above)
        lines = file.read().decode(errors="surrogateescape").splitlines()
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _ESCAPED.sub(lambda match: chr(int(match.group(1), 8)), before.split()[4])
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, after.split()[0])
    if not best[0]:
        raise Refused(f"No mount in {_MOUNTS} has the folder {folder} on it; nothing was changed.")
    return best
