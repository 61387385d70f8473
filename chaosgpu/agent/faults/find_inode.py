# SPDX-License-Identifier: Apache-2.0
"""Find a file by its inode on one file system, when it is no longer where it was: somebody has moved it."""

import contextlib
import os
import stat
import time
from typing import List, Optional, Tuple

__all__ = ["find_inode"]

_WITHIN_S = 3.0


def find_inode(top: str, inode: int, within_s: float = _WITHIN_S) -> Tuple[Optional[str], bool]:
    """Return where a plain file of this user with this inode is, and whether all of the file system was looked at."""
    end_s = time.monotonic() + within_s
    device, everywhere = os.stat(top).st_dev, True  # noqa: PTH116 (pathlib costs 9 ms at start)
    waiting: List[str] = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with contextlib.closing(os.scandir(folder)) as entries:
                for entry in entries:
                    if time.monotonic() > end_s:
                        return None, False
                    if entry.is_dir(follow_symlinks=False):
                        if entry.stat(follow_symlinks=False).st_dev == device:
                            waiting.append(entry.path)
                    elif entry.inode() == inode and _is_plain(entry, device):
                        return entry.path, True
        except FileNotFoundError:
            continue  # others work there
        except OSError:
            everywhere = False
    return None, everywhere


def _is_plain(entry: "os.DirEntry[str]", device: int) -> bool:
    found = entry.stat(follow_symlinks=False)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_dev == device
