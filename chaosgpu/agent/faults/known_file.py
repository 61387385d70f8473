# SPDX-License-Identifier: Apache-2.0
"""One file and no other, known again by what was noted of it, and folders that are opened without following a link.

It is known by inode, size, time of change and, up to 256 MiB a lease, by its digest. Above that a digest would keep a
database down for minutes. The kernel's own time of change (ctime) is not used: a backup or a new label moves it and
changes no byte.
"""

import contextlib
import hashlib
import os
import stat
from dataclasses import asdict, dataclass
from typing import Iterator, Optional

from chaosgpu.agent import typed
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["PLAIN", "Original", "digest_of", "opened_folder", "status"]

PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Original:
    """One file and no other, as it was when nobody wrote to it any more; no digest where it was too large for one.

    `folder_*` is whose the folder was that it lay in, and its mode: the service may remove an empty folder.
    """

    inode: int
    size: int
    changed_ns: int
    folder_user: int
    folder_group: int
    folder_mode: int
    sha256: str = ""

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Original":
        """Read it back from the lease's folder."""
        return typed.read(cls, source)

    def to_json(self) -> JsonObject:
        """Return it for the lease's folder."""
        return {**asdict(self)}

    def is_at(self, folder: int, name: str, found: os.stat_result) -> bool:
        """Tell whether what lies there is this file, as it was."""
        if not stat.S_ISREG(found.st_mode) or found.st_ino != self.inode:
            return False
        if (found.st_size, found.st_mtime_ns) != (self.size, self.changed_ns):
            return False
        return not self.sha256 or digest_of(folder, name) == self.sha256


@contextlib.contextmanager
def opened_folder(path: str) -> Iterator[int]:
    """Open a folder without following a link anywhere on the way: whoever owns a folder above cannot lead us away."""
    folder = os.open("/", _FOLDER)
    try:
        for name in filter(None, path.split("/")):
            below = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def status(folder: int, name: str) -> Optional[os.stat_result]:
    """Return what a name in an open folder is; None where there is none."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def digest_of(folder: int, name: str) -> str:
    """Return the digest of a file in an open folder."""
    digest = hashlib.sha256()
    descriptor = os.open(name, PLAIN, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()
