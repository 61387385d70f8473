# SPDX-License-Identifier: Apache-2.0
"""A library's file that a fault brings into one unit: what it must be, and which of its kind a unit has loaded.

Only NVIDIA's own families are taken: another libc in a unit is no drift, it is a unit that does not start.
"""

import os
import re
import stat
from dataclasses import asdict, dataclass
from typing import List, Optional, Sequence, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, Refused
from chaosgpu.agent.faults.unit_state import UnitState, members
from chaosgpu.agent.library import file_sha256
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["LibraryFile", "Loaded", "family_of", "identity_of", "loaded", "parse_file", "take", "usable"]

_NAME = re.compile(
    r"(lib(?:cuda|cudart|cublas|cublasLt|cusparse|cusparseLt|cusolver|cufft|curand|cudnn\w*|cupti|nccl|nvJitLink|nvrtc|"
    r"nvinfer\w*|npp\w+|nvidia-[\w-]+))\.so(?:\.\d+)*"
)
# What a unit file and a search path take as it is: no blank, colon, quote or percent sign.
_PATH = re.compile(r"/[A-Za-z0-9_./+@~-]+")
_DELETED = " (deleted)"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_HEADER_BYTES = 20  # of an ELF file: what it is, for which machine


@dataclass(frozen=True)
class LibraryFile:
    """One file and no other: also after somebody has put another one at its path."""

    path: str
    sha256: str
    device: int
    inode: int
    size: int
    changed_ns: int

    @classmethod
    def from_json(cls, source: JsonMapping) -> "LibraryFile":
        """Read it back from the lease's record."""
        numbers = (values.whole(source, key, 0, 1 << 63) for key in ("device", "inode", "size", "changed_ns"))
        return cls(values.text(source, "path"), values.text(source, "sha256"), *numbers)

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {**asdict(self)}

    def unchanged(self) -> bool:
        """Tell whether the same file lies there, as it was."""
        try:
            about = os.stat(self.path)  # noqa: PTH116 (pathlib costs 9 ms at start)
        except OSError:
            return False
        return (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns) == (
            self.device, self.inode, self.size, self.changed_ns,
        )  # fmt: skip

    def is_at(self, path: str) -> bool:
        """Tell whether this file is what one finds at a path, such as one below /proc/PID/root."""
        return identity_of(path) == (self.device, self.inode)


@dataclass(frozen=True)
class Loaded:
    """One file that one process has in its memory."""

    pid: int
    path: str
    deleted: bool


def parse_file(source: JsonMapping, key: str) -> str:
    """Read the whole path of a library of NVIDIA's families."""
    path = values.text(source, key)
    if not _PATH.fullmatch(path) or not family_of(path):
        raise BadRequest(
            f"{key} must be the whole path of one of NVIDIA's libraries, without blanks or colons, such as "
            f"/opt/cuda-11.8/lib64/libcusparse.so.11.7.5.86, not {path!r}."
        )
    return path


def family_of(path: str) -> str:
    """Return the name of a library up to .so; empty where it is none of NVIDIA's."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return match.group(1) if match else ""


def usable(path: str) -> str:
    """Return the real path of a library that every service could load; Refused where one could not, or should not."""
    real = os.path.realpath(path)
    wrong = f"{path} cannot be brought into a unit"
    try:
        about = os.stat(real)  # noqa: PTH116 (pathlib costs 9 ms at start)
        with open(real, "rb") as file, open("/proc/self/exe", "rb") as ours:  # noqa: PTH123 (as above)
            header, own = file.read(_HEADER_BYTES), ours.read(_HEADER_BYTES)
    except OSError as error:
        raise Refused(f"{wrong}: {error.strerror}. Nothing was changed.") from error
    if not _PATH.fullmatch(real) or not family_of(real):
        raise Refused(f"{wrong}: it leads to {real}, which has no name of one of NVIDIA's libraries.")
    # The same class and machine as the Python that we run on, which runs on this host.
    if not stat.S_ISREG(about.st_mode) or header[:6] != own[:6] or header[18:] != own[18:]:
        raise Refused(f"{wrong}: it is no library for this machine's processor. Nothing was changed.")
    if about.st_uid != 0 or about.st_mode & _OTHERS_WRITE:
        raise Refused(f"{wrong}: it must belong to root, with nobody else to write it. Nothing was changed.")
    _refuse_hidden(real, about.st_mode, wrong)
    return real


def take(path: str) -> LibraryFile:
    """Note a file that may be used, so that it is known again."""
    real = usable(path)
    about = os.stat(real)  # noqa: PTH116 (as above)
    return LibraryFile(real, file_sha256(real), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)


def loaded(state: UnitState, families: Sequence[str]) -> List[Loaded]:
    """Return what the processes of a unit have of these families."""
    return [one for who in members(state) for one in _mapped(who.pid) if family_of(one.path) in families]


def identity_of(path: str) -> Optional[Tuple[int, int]]:
    """Return which file lies at a path, by device and inode; None where none does, or it is not shown."""
    try:
        about = os.stat(path)  # noqa: PTH116 (as above)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _mapped(pid: int) -> List[Loaded]:
    """Read /proc/PID/maps: address, rights, offset, device, inode, path."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:  # noqa: PTH123 (as above)
            rows = file.read().decode(errors="surrogateescape").splitlines()
    except OSError:
        return []
    paths = {row[row.index("/") :]: None for row in rows if "/" in row}
    return [Loaded(pid, path.removesuffix(_DELETED), path.endswith(_DELETED)) for path in paths]


def _refuse_hidden(path: str, mode: int, wrong: str) -> None:
    """Refuse a file that a service of another user could not read, or could not run from where it lies."""
    if not mode & stat.S_IROTH:
        raise Refused(f"{wrong}: its owner alone may read it, so no service could load it: chmod o+r it.")
    folder = os.path.dirname(path)  # noqa: PTH120 (as above)
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise Refused(f"{wrong}: it is on a file system that is mounted noexec, so no service could load it.")
    while folder != "/":
        if not os.stat(folder).st_mode & stat.S_IXOTH:  # noqa: PTH116 (as above)
            raise Refused(f"{wrong}: {folder} may be entered by its owner alone: chmod o+x it.")
        folder = os.path.dirname(folder)  # noqa: PTH120 (as above)
