# SPDX-License-Identifier: Apache-2.0
"""Files that survive a crash: a document written once and whole, and one written often into two slots in turn.

The slots are laid out with real blocks when the file is made, so that a disk that fills up later takes no state away.
A torn or damaged slot leaves the other one. Every byte that is read is under the digest in the first line.
"""

import hashlib
import json
import os
import stat
from typing import Optional, Tuple

from chaosgpu.agent.errors import StoreFailed
from chaosgpu.agent.values import JsonObject

__all__ = ["SLOT_BYTES", "Damaged", "Slots", "read_document", "sync_folder", "write_document"]

SLOT_BYTES = 16384
_MAGIC = b"chaosgpu"
_VERSION = b"1"
_LARGEST_BYTES = 1 << 22


class Damaged(StoreFailed):
    """What is on disk is not what was written there; nothing in it may be executed."""


def _pack(sequence: int, body: JsonObject) -> bytes:
    raw = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    number = str(sequence).encode()
    digest = hashlib.sha256(number + b" " + raw).hexdigest().encode()
    return b" ".join((_MAGIC, _VERSION, number, str(len(raw)).encode(), digest)) + b"\n" + raw


def _unpack(raw: bytes, padded: bool) -> Optional[Tuple[int, JsonObject]]:
    """Return sequence and body, or None: any byte that differs from what `_pack` would write again is damage."""
    head, _, rest = raw.partition(b"\n")
    words = head.split(b" ")
    if len(words) != 5 or not words[2].isdigit() or not words[3].isdigit():  # noqa: PLR2004 (as in _pack)
        return None
    length = int(words[3])
    used = raw[: len(head) + 1 + length]
    if not padded and used != raw:
        return None
    try:
        body = json.loads(rest[:length])
    except ValueError:
        return None
    if not isinstance(body, dict) or _pack(int(words[2]), body) != used:
        return None
    return int(words[2]), body


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(folder: str, name: str, content: bytes) -> None:
    path = os.path.join(folder, name)  # noqa: PTH118 (pathlib costs 9 ms at start)
    temporary = f"{path}.{os.getpid()}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)  # noqa: PTH104 (pathlib costs 9 ms at start)
        sync_folder(folder)
    except OSError as error:
        _remove(temporary)
        raise StoreFailed(f"{path} cannot be written: {error.strerror}. Free some space or mend the folder.") from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 (pathlib costs 9 ms at start)
    except OSError:
        return  # it was never made, or the disk is beyond help; its name says what it is


def write_document(folder: str, name: str, body: JsonObject) -> None:
    """Write a document whole: temporary name, sync, rename, sync the folder."""
    _write_new(folder, name, _pack(1, body) + b"\n")


def read_document(folder: str, name: str) -> Optional[JsonObject]:
    """Read a document; None where there is none, Damaged where one byte of it is not as written."""
    path = os.path.join(folder, name)  # noqa: PTH118 (as above)
    raw = _read(path)
    if raw is None:
        return None
    found = _unpack(raw[:-1], padded=False) if raw.endswith(b"\n") else None
    if found is None:
        raise Damaged(f"{path} is damaged: its checksum does not fit its content.")
    return found[1]


def _read(path: str) -> Optional[bytes]:
    # A claim may name any user's folder: what lies there must not make us wait, follow or swallow without end.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StoreFailed(f"{path} is no plain file.")
            return file.read(_LARGEST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreFailed(f"{path} cannot be read: {error.strerror}.") from error


class Slots:
    """One small document that is written often: two slots in turn, the newest whole one counts."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder, self._name = folder, name
        self.path = os.path.join(folder, name)  # noqa: PTH118 (as above)

    def create(self, body: JsonObject) -> None:
        """Lay out both slots with real blocks and write the first."""
        first = _pack(1, body)
        if len(first) > SLOT_BYTES:
            raise StoreFailed(f"{self.path} cannot hold {len(first)} bytes; its slots have {SLOT_BYTES}.")
        _write_new(self._folder, self._name, first.ljust(SLOT_BYTES, b"\0") + b"\0" * SLOT_BYTES)

    def read(self) -> Optional[Tuple[int, JsonObject]]:
        """Return sequence and body of the newest whole slot; None where there is no file, Damaged where none is."""
        raw = _read(self.path)
        if raw is None:
            return None
        slots = (_unpack(raw[start : start + SLOT_BYTES], padded=True) for start in (0, SLOT_BYTES))
        whole = [slot for slot in slots if slot is not None]
        if not whole:
            raise Damaged(f"{self.path} is damaged: neither of its two slots is whole.")
        return max(whole, key=lambda slot: slot[0])

    def write(self, body: JsonObject) -> None:
        """Write the next state over the older slot, in place, and sync it."""
        newest = self.read()
        if newest is None:
            raise StoreFailed(f"{self.path} is gone: somebody removed the lease's folder.")
        sequence = newest[0] + 1
        packed = _pack(sequence, body)
        if len(packed) > SLOT_BYTES:
            raise StoreFailed(f"{self.path} cannot hold {len(packed)} bytes; its slots have {SLOT_BYTES}.")
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                os.pwrite(descriptor, packed, (sequence - 1) % 2 * SLOT_BYTES)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}.") from error
