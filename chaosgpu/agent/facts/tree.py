# SPDX-License-Identifier: Apache-2.0
"""The files of a host below a root, read without following a link out of it; what cannot be read has its reason."""

import errno
import os
from typing import BinaryIO, Callable, Iterator, List, Optional, Tuple

from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonValue

__all__ = ["Tree", "UnknownFact", "put"]

_MOST_BYTES = 256 << 20
_BLOCK_BYTES = 1 << 18
_MOST_LINKS = 40
_WHY = {
    errno.ENOENT: "is not there",
    errno.ENOTDIR: "is not there",
    errno.EACCES: "may not be read by this user",
    errno.EPERM: "may not be read by this user",
}


class UnknownFact(Exception):
    """A fact cannot be known; the message is the reason."""


def put(answer: Answer, name: str, read: Callable[[], JsonValue]) -> None:
    """Keep a value under its name, or why it cannot be known."""
    try:
        answer.values[name] = read()
    except UnknownFact as why:
        answer.unknown[name] = str(why)


class Tree:
    """The file system of a host; `root` is / unless somebody looks at an image of one."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")

    @property
    def is_host(self) -> bool:
        """Whether this is the host itself, so that the kernel may be asked, too."""
        return not self.root

    def real(self, path: str) -> str:
        """Return where the path leads inside the root, every link resolved there."""
        found, waiting, links = "", [part for part in path.split("/") if part], 0
        while waiting:
            part = waiting.pop(0)
            if part in (".", ""):
                continue
            if part == "..":
                found = found.rpartition("/")[0]
                continue
            try:
                target = os.readlink(f"{self.root}{found}/{part}")  # noqa: PTH115 (pathlib costs 9 ms at start)
            except OSError:
                found = f"{found}/{part}"
                continue
            links += 1
            if links > _MOST_LINKS:
                raise UnknownFact(f"{path} goes in circles")
            if target.startswith("/"):
                found = ""
            waiting = [one for one in target.split("/") if one] + waiting
        return found or "/"

    def read(self, path: str, most: int = _MOST_BYTES) -> bytes:
        """Return what a file holds."""
        try:
            with open(self.root + self.real(path), "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
                return b"".join(_blocks(file, most))
        except OSError as error:
            raise _unknown(path, error) from error

    def text(self, path: str) -> str:
        """Return what a file of text holds, without the blanks around it."""
        return self.read(path).decode(errors="replace").strip()

    def names(self, folder: str) -> List[str]:
        """Return the names in a folder, sorted."""
        try:
            return sorted(os.listdir(self.root + self.real(folder)))  # noqa: PTH208 (pathlib costs 9 ms at start)
        except OSError as error:
            raise _unknown(folder, error) from error

    def some_names(self, folder: str) -> List[str]:
        """Return the names in a folder that need not be there; UnknownFact only where it may not be read."""
        return self.names(folder) if self.exists(folder) else []

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file or folder; UnknownFact where that cannot be seen."""
        return self.stat(path) is not None

    def stat(self, path: str) -> Optional[os.stat_result]:
        """Return the state of a file, or None where there is none."""
        try:
            return os.stat(self.root + self.real(path))  # noqa: PTH116 (pathlib costs 9 ms at start)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise _unknown(path, error) from error

    def split(self, path: str) -> Tuple[str, str]:
        """Return the folder and the name of where a path leads."""
        folder, _, name = self.real(path).rpartition("/")
        return folder, name


def _blocks(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Read block by block: the kernel refuses to fill a big buffer with a setting of its own."""
    left = most
    while left > 0:
        block = file.read(min(left, _BLOCK_BYTES))
        if not block:
            return
        left -= len(block)
        yield block


def _unknown(path: str, error: OSError) -> UnknownFact:
    return UnknownFact(f"{path} {_WHY.get(error.errno or 0, f'cannot be read ({error.strerror})')}")
