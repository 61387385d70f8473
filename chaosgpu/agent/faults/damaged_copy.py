# SPDX-License-Identifier: Apache-2.0
"""A copy of a file with some bytes flipped at places that follow from a seed, put under the file's own name.

It has the original's owner, mode, labels and times, so that nothing but its bytes tells it from the original.
"""

import contextlib
import errno
import fcntl
import os
import random
from typing import List, Tuple

from chaosgpu.agent.faults.aside import Aside
from chaosgpu.agent.faults.known_file import PLAIN, opened_folder, status

__all__ = ["flips", "put", "still_flipped"]

_CLONE = 0x40049409  # FICLONE: btrfs and xfs share the blocks until one of both is written
_BLOCK_BYTES = 1 << 20


def flips(size: int, count: int, seed: int, number: int) -> List[Tuple[int, int]]:
    """Return the places and what each byte is XORed with, never 0; of a smaller file every byte."""
    drawn = random.Random(f"{seed}/{number}")  # noqa: S311 (to be drawn again, not to be secret)
    places = sorted(drawn.sample(range(size), min(count, size)))
    return [(place, drawn.randrange(1, 256)) for place in places]


def put(one: Aside, changes: List[Tuple[int, int]]) -> None:
    """Make the copy of the file that is aside, and put it under the file's name, durable when this returns."""
    with contextlib.ExitStack() as stack:
        folder, place = (stack.enter_context(opened_folder(path)) for path in (one.folder, one.place))
        source = os.open(one.hidden, PLAIN, dir_fd=place)
        stack.callback(os.close, source)
        target = os.open(one.copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=place)
        stack.callback(os.close, target)
        _copy(source, target)
        for at, mask in changes:
            os.pwrite(target, bytes([os.pread(source, 1, at)[0] ^ mask]), at)
        _dress(source, target)
        os.fsync(target)
        os.rename(one.copy, one.name, src_dir_fd=place, dst_dir_fd=folder)
        os.fsync(folder)


def still_flipped(one: Aside, changes: List[Tuple[int, int]]) -> int:
    """Return how many of these bytes are there as they were flipped: the unit may have written the file anew."""
    with contextlib.ExitStack() as stack:
        folder, place = (stack.enter_context(opened_folder(path)) for path in (one.folder, one.place))
        if status(folder, one.name) is None:
            return 0
        source, target = (os.open(name, PLAIN, dir_fd=at) for name, at in ((one.hidden, place), (one.name, folder)))
        stack.callback(os.close, source)
        stack.callback(os.close, target)
        were = [(os.pread(source, 1, at), os.pread(target, 1, at), mask) for at, mask in changes]
    return sum(was[:1] != b"" and now == bytes([was[0] ^ mask]) for was, now, mask in were)


def _copy(source: int, target: int) -> None:
    try:
        fcntl.ioctl(target, _CLONE, source)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS):
            raise
    else:
        return
    while True:
        view = memoryview(os.read(source, _BLOCK_BYTES))
        if not view:
            return
        while view:
            view = view[os.write(target, view) :]


def _dress(source: int, target: int) -> None:
    """Give the copy what the original has beside its bytes; the mode last, since a change of owner may take of it."""
    found = os.fstat(source)
    os.fchown(target, found.st_uid, found.st_gid)
    with contextlib.suppress(OSError):  # a file system without them has none to lose
        for name in os.listxattr(source):
            os.setxattr(target, name, os.getxattr(source, name))
    os.fchmod(target, found.st_mode & 0o7777)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
