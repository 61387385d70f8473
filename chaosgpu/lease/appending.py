# SPDX-License-Identifier: Apache-2.0
"""Lines at the end of a record that must survive: whole or not at all, synced, and a torn end kept aside."""

import os
from pathlib import Path

__all__ = ["append_line", "keep_torn_end"]


def append_line(file: int, line: bytes) -> None:
    """Write one line at the end and sync it; if the disk does not take all of it, take back what it took."""
    size = os.fstat(file).st_size
    os.lseek(file, size, os.SEEK_SET)
    try:
        _write_all(file, line + b"\n")
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def keep_torn_end(file: int, aside: Path, tail: bytes) -> None:
    """Write the torn end to a file of its own, synced, and only then cut it off."""
    torn = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(torn, tail)
        os.fsync(torn)
    finally:
        os.close(torn)
    os.ftruncate(file, os.fstat(file).st_size - len(tail))


def _write_all(file: int, data: bytes) -> None:
    """Write all of it: a nearly full disk takes a part without an error."""
    while data:
        data = data[os.write(file, data) :]
