# SPDX-License-Identifier: Apache-2.0
"""A file of ours that takes room on a file system: in a folder of this lease, known by its first line and its inode.

Both are on the disk, and noted in the lease's folder, while the file has nothing else in it. An inode alone may be
another file's a moment after ours was deleted. To undo is to cut it down to that line first: that needs no room, also
where removing a name does (btrfs), and gives it back when somebody else has it open or has given it a second name.
"""

import contextlib
import errno
import os
import stat
import time
from dataclasses import asdict, dataclass
from typing import Callable, Iterator, Optional, Tuple

from chaosgpu.agent import typed
from chaosgpu.agent.errors import AgentError, Refused, StoreFailed
from chaosgpu.agent.faults.find_inode import find_inode
from chaosgpu.agent.store import read_document, write_document
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["DELETED", "MOVED", "REMOVED", "FillFile", "Noted", "take"]

PREFIX, NAME = "chaosgpu-fill-", "fill"
NOTE, END = "filled", "emptied"  # in the lease's folder
REMOVED, MOVED, DELETED = "removed", "moved", "deleted"
FIRST, LEAST, MOST = 1 << 22, 1 << 16, 1 << 32  # bytes at once
QUICK_S = 0.2
ROUNDS = 3  # what others free meanwhile is taken twice more, and then it is theirs
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Noted:
    """Which file is ours, whatever its name."""

    inode: int
    device: int


@dataclass(frozen=True)
class FillFile:
    """Where it lies; `top_inode`, `device` and `serial` tell whether the file system is still the one mounted there."""

    top: str
    folder: str
    top_inode: int
    device: int
    serial: int

    @classmethod
    def from_json(cls, source: JsonMapping) -> "FillFile":
        """Read it back from the lease's record."""
        return typed.read(cls, source)

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {**asdict(self)}

    @property
    def path(self) -> str:
        """Return where the file is."""
        return f"{self.top.rstrip('/')}/{self.folder}/{NAME}"

    def refuse_taken(self) -> None:
        """Refuse where something lies under the folder's name: it is not ours, and an undo must never meet it."""
        if os.path.lexists(os.path.dirname(self.path)):  # noqa: PTH120 (pathlib costs 9 ms at start)
            raise Refused(f"{self.path} or its folder is there already and is not ours; nothing was changed.")

    def noted(self, lease_dir: Optional[str]) -> Optional[Noted]:
        """Return which file is ours; None before there is one with anything in it."""
        found = None if lease_dir is None else read_document(lease_dir, NOTE)
        return None if found is None else typed.read(Noted, found)

    def make(self, lease_dir: str) -> int:
        """Make folder and file, note which file it is, and return it open for writing."""
        os.mkdir(os.path.dirname(self.path), 0o700)  # noqa: PTH102, PTH120 (as above)
        with self._opened_folder() as folder:
            if folder is None or os.fstat(folder).st_dev != self.device:
                raise Refused(f"{self.path} was exchanged while it was made; nothing was written.")
            file = os.open(NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=folder)
        try:
            os.write(file, self._tag)
            os.fsync(file)
            found = os.fstat(file)
            write_document(lease_dir, NOTE, {"inode": found.st_ino, "device": found.st_dev})
        except (OSError, AgentError):
            os.close(file)
            raise
        return file

    def size(self, noted: Optional[Noted]) -> Optional[int]:
        """Return the bytes that our file has on the disk; None where it is not at its place."""
        with self._opened(os.O_RDONLY) as opened:
            if opened is None or not self._is_ours(opened[1], noted):
                return None
            return os.fstat(opened[1]).st_blocks * 512

    def remove(self, lease_dir: Optional[str]) -> None:
        """Empty and remove it, if it is ours, and its folder; look for one that somebody has moved."""
        noted = self.noted(lease_dir)
        try:
            with self._opened(os.O_RDWR) as opened:
                ours = opened is not None and self._is_ours(opened[1], noted)
                if opened is not None and ours:
                    self._cut(opened[1])
                    _leave_word(lease_dir, REMOVED)
                    os.unlink(NAME, dir_fd=opened[0])
            if not ours and noted is not None and self.same_file_system() and self.how_it_ended(lease_dir) is None:
                self._remove_moved(noted, lease_dir)
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(os.path.dirname(self.path))  # noqa: PTH106, PTH120 (as above)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOTDIR):  # what somebody else has put there stays
                raise StoreFailed(
                    f"{self.path} cannot be removed: {error.strerror}. Make its file system writable (`mount`, "
                    "`lsattr`, `dmesg`), then undo again."
                ) from error

    def how_it_ended(self, lease_dir: Optional[str]) -> Optional[str]:
        """Return what became of the file, as an undo has left word; None where none has."""
        try:
            found = None if lease_dir is None else read_document(lease_dir, END)
        except AgentError:  # only words for people are in it
            return None
        return None if found is None else str(found["how"])

    def same_file_system(self) -> bool:
        """Tell whether the file system that was filled is the one that is mounted there now."""
        try:
            found, serial = os.stat(self.top), os.statvfs(self.top).f_fsid  # noqa: PTH116 (as above)
        except OSError:
            return False
        return found.st_ino == self.top_inode and (found.st_dev == self.device or serial == self.serial != 0)

    def left(self) -> bool:
        """Tell whether the folder is still there."""
        return os.path.lexists(os.path.dirname(self.path))  # noqa: PTH120 (as above)

    @property
    def _tag(self) -> bytes:
        return f"{self.folder}: a disk is filled by chaosgpu on purpose; its undo removes this file.\n".encode()

    def _remove_moved(self, noted: Noted, lease_dir: Optional[str]) -> None:
        found, everywhere = find_inode(self.top, noted.inode)
        if found is not None and self._remove_at(found, noted, lease_dir):
            return
        if everywhere:
            _leave_word(lease_dir, DELETED)

    def _remove_at(self, found: str, noted: Noted, lease_dir: Optional[str]) -> bool:
        parent, _, name = found.rpartition("/")
        with contextlib.ExitStack() as stack:
            folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, folder)
            file = os.open(name, os.O_RDWR | _OPEN, dir_fd=folder)
            stack.callback(os.close, file)
            if not self._is_ours(file, noted):
                return False
            self._cut(file)
            _leave_word(lease_dir, MOVED)
            os.unlink(name, dir_fd=folder)
        return True

    def _cut(self, file: int) -> None:
        """Give the room back and keep the line by which it is known, for one who dies now."""
        os.ftruncate(file, min(len(self._tag), os.fstat(file).st_size))

    def _is_ours(self, file: int, noted: Optional[Noted]) -> bool:
        """Tell whether it is the one that was noted; before it is noted, one that has nothing but our line, or less."""
        found, begin = os.fstat(file), os.pread(file, len(self._tag), 0)
        if noted is None:
            return found.st_size <= len(self._tag) and self._tag.startswith(begin)
        return found.st_ino == noted.inode and begin == self._tag

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Iterator[Optional[Tuple[int, int]]]:
        """Open our folder and a plain file of this user's in it, without following a link; None where there is none."""
        with self._opened_folder() as folder:
            found = None if folder is None else _status(folder)
            if folder is None or found is None or not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                yield None
                return
            file = os.open(NAME, flags | _OPEN, dir_fd=folder)
            try:
                yield folder, file
            finally:
                os.close(file)

    @contextlib.contextmanager
    def _opened_folder(self) -> Iterator[Optional[int]]:
        """Open our folder without following a link; None where there is none that is this user's."""
        try:
            folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # noqa: PTH120 (as above)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            yield None
            return
        try:
            yield folder if os.fstat(folder).st_uid == os.geteuid() else None
        finally:
            os.close(folder)


def take(file: int, missing: Callable[[], int], in_time: Callable[[], bool], *, writes: bool) -> None:
    """Give the file real blocks until nothing is missing to the level, or the file system has no more to give.

    `writes`: it has no fallocate, so each block is written. What is asked for at once grows while it is given quickly.
    A file system whose free space does not shrink by what it gives is not filled for ever: three rounds, each of what
    was missing at its beginning.
    """
    give = _write if writes else _allocate
    for _ in range(ROUNDS):
        want, most, cap = missing(), FIRST, FIRST if writes else MOST
        while want > 0 and most >= LEAST and in_time():
            began_s = time.monotonic()
            step = min(want, most)
            try:
                want -= give(file, step)
                if time.monotonic() - began_s < QUICK_S:
                    most = min(2 * most, cap)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                most = cap = step // 2  # some give all of it or nothing


def _allocate(file: int, step: int) -> int:
    os.posix_fallocate(file, os.fstat(file).st_size, step)
    return step


def _write(file: int, step: int) -> int:
    return os.write(file, bytes(step))


def _leave_word(lease_dir: Optional[str], how: str) -> None:
    """Say what became of the file; whatever keeps that from being written must not keep the room taken."""
    with contextlib.suppress(AgentError):
        if lease_dir is not None:
            write_document(lease_dir, END, {"how": how})


def _status(folder: int) -> Optional[os.stat_result]:
    try:
        return os.stat(NAME, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
