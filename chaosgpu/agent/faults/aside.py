# SPDX-License-Identifier: Apache-2.0
"""A file that is set aside: renamed in its own folder, never written, known again, and put back by a rename.

What it was is noted once nobody writes to it any more, and before it is renamed. It is known by inode, size, time of
change and, up to 256 MiB a lease, by its digest. Above that a digest would keep a database down for minutes more.
The kernel's own time of change (ctime) is not used: a backup or a new label moves it and changes no byte.
"""

import contextlib
import hashlib
import os
import stat
from dataclasses import asdict, dataclass
from typing import Iterator, Optional

from chaosgpu.agent import typed
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["ASIDE", "CHANGED", "GONE", "IN_PLACE", "PREFIX", "Aside", "Original", "opened_folder", "status"]

PREFIX = "chaosgpu-aside-"
COPY = ".copy"
IN_PLACE, ASIDE, GONE, CHANGED = "in place", "aside", "gone", "changed"
_BLOCK_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Original:
    """One file and no other, as it was when nobody wrote to it any more; no digest where it was too large for one."""

    inode: int
    size: int
    changed_ns: int
    sha256: str = ""

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Original":
        """Read it back from the lease's folder."""
        return typed.read(cls, source)

    def to_json(self) -> JsonObject:
        """Return it for the lease's folder."""
        return {**asdict(self)}


@dataclass(frozen=True)
class Aside:
    """Where a file belongs, and the name under which this lease sets it aside."""

    path: str
    aside: str

    @classmethod
    def of(cls, path: str, lease: str, number: int) -> "Aside":
        """Lay out the name: in the same folder, so that a rename is all there is to it."""
        return cls(path, f"{os.path.dirname(path)}/{PREFIX}{lease}-{number}")  # noqa: PTH120 (pathlib costs 9 ms at start)

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Aside":
        """Read it back from the lease's record."""
        return typed.read(cls, source)

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {**asdict(self)}

    @property
    def folder(self) -> str:
        """Return the folder that both names are in."""
        return os.path.dirname(self.path)  # noqa: PTH120 (as above)

    @property
    def name(self) -> str:
        """Return its own name in that folder."""
        return os.path.basename(self.path)  # noqa: PTH119 (as above)

    @property
    def hidden(self) -> str:
        """Return the name under which it is aside."""
        return os.path.basename(self.aside)  # noqa: PTH119 (as above)

    @property
    def copy(self) -> str:
        """Return the name under which a copy is made, before it stands in the file's place."""
        return self.hidden + COPY

    def refuse_taken(self) -> None:
        """Refuse where something lies under a name of ours: an undo must never meet it."""
        for name in (self.aside, self.aside + COPY):
            if os.path.lexists(name):
                raise Refused(f"{name} is there already and is not ours to write over; nothing was changed.")

    def original(self, *, digested: bool) -> Original:
        """Note which file lies there; Refused where it is none, or has other names."""
        with opened_folder(self.folder) as folder:
            found = status(folder, self.name)
            if found is None or not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise Refused(f"{self.path} is no plain file with one name any more, so it was not set aside.")
            sha256 = _digest(folder, self.name) if digested else ""
        return Original(found.st_ino, found.st_size, found.st_mtime_ns, sha256)

    def put_aside(self, original: Original) -> None:
        """Rename it, durable when this returns."""
        with opened_folder(self.folder) as folder:
            found = status(folder, self.name)
            if found is None or found.st_ino != original.inode or status(folder, self.hidden) is not None:
                raise Refused(f"{self.path} was exchanged while it was set aside.")
            os.rename(self.name, self.hidden, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def how(self, original: Original) -> str:
        """Tell where the original is: in its place, aside, aside and changed, or in neither place."""
        try:
            with opened_folder(self.folder) as folder:
                found, aside = status(folder, self.name), status(folder, self.hidden)
                if found is not None and found.st_ino == original.inode:
                    return IN_PLACE
                if aside is None:
                    return GONE
                return ASIDE if self._is(folder, aside, original) else CHANGED
        except (FileNotFoundError, NotADirectoryError):
            return GONE

    def put_back(self, original: Original) -> None:
        """Rename it back over whatever stands under its name, durable when this returns; again is harmless."""
        with opened_folder(self.folder) as folder:
            self._forget_copy(folder, original)
            found, aside = status(folder, self.name), status(folder, self.hidden)
            if aside is not None and aside.st_ino == original.inode:
                if found is not None and found.st_ino == original.inode:  # somebody has given it both names
                    os.unlink(self.hidden, dir_fd=folder)
                else:
                    os.rename(self.hidden, self.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def stands_in(self, original: Original) -> Optional[os.stat_result]:
        """Return what stands under its name and is not the original; None where nothing does."""
        try:
            with opened_folder(self.folder) as folder:
                found = status(folder, self.name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if found is None or found.st_ino == original.inode else found

    def left(self) -> bool:
        """Tell whether a name of ours is still there."""
        return any(map(os.path.lexists, (self.aside, self.aside + COPY)))

    def _forget_copy(self, folder: int, original: Original) -> None:
        """Remove a copy that a killed agent had begun; the name is this lease's own."""
        found = status(folder, self.copy)
        if found is not None and stat.S_ISREG(found.st_mode) and found.st_ino != original.inode:
            os.unlink(self.copy, dir_fd=folder)

    def _is(self, folder: int, found: os.stat_result, original: Original) -> bool:
        known = (found.st_ino, found.st_size, found.st_mtime_ns) == (
            original.inode, original.size, original.changed_ns,
        )  # fmt: skip
        if not known or not stat.S_ISREG(found.st_mode) or not original.sha256:
            return known and stat.S_ISREG(found.st_mode)
        return _digest(folder, self.hidden) == original.sha256


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


def _digest(folder: int, name: str) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(name, PLAIN, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()
