# SPDX-License-Identifier: Apache-2.0
"""Which processes of a unit use CUDA, and what they have loaded: from the kernel's own tables of their memory."""

import os
import struct
from dataclasses import dataclass
from typing import List, Optional, Tuple

from chaosgpu.agent.errors import NoEffect, Refused
from chaosgpu.agent.faults.unit_state import UnitState, members, show
from chaosgpu.agent.process import environment_of
from chaosgpu.agent.systemd import Systemd

__all__ = ["CudaProcess", "cuda_processes", "mapped_anywhere", "refuse_unloadable", "writes_nowhere"]

_DRIVER = "libcuda.so"
_AT_SECURE = 23
_WORD = struct.calcsize("@L")


@dataclass(frozen=True)
class CudaProcess:
    """A process that has the CUDA driver's library in its memory."""

    pid: int
    user: int
    files: Tuple[Tuple[str, str], ...]  # path and inode number of every file that is mapped

    def has(self, path: str) -> bool:
        """Tell whether exactly the file that lies at this path now is loaded."""
        try:
            inode = str(os.stat(path).st_ino)  # noqa: PTH116 (pathlib costs 9 ms at start)
        except FileNotFoundError:
            return False
        return (path, inode) in self.files


def cuda_processes(state: UnitState) -> List[CudaProcess]:
    """Return those of a unit that have the driver's library loaded."""
    found = (_look(who.pid) for who in members(state))
    return [process for process in found if process is not None]


def mapped_anywhere(state: UnitState, path: str) -> bool:
    """Tell whether any process of the unit has this file, or one that lay there, loaded."""
    gone = f"{path} (deleted)"
    return any(name in (path, gone) for who in members(state) for name, _ in _files(who.pid))


def refuse_unloadable(state: UnitState, systemd: Systemd) -> List[CudaProcess]:
    """Refuse a unit that uses no CUDA, preloads something already, or lets nothing be preloaded; return who uses it."""
    found = cuda_processes(state)
    if not found:
        raise NoEffect(f"No process of {state.id} has {_DRIVER} loaded now, so no CUDA call of it could fail.")
    preloads = [who.pid for who in members(state) if "LD_PRELOAD" in (environment_of(who.pid) or {})]
    if preloads or "LD_PRELOAD" in show(systemd, ("Id", "Environment"), "--", state.id):
        raise Refused(
            f"{state.id} has LD_PRELOAD set already (processes {preloads}): ours would take its place, and the service "
            "would not be the same. Nothing was touched."
        )
    secure = [process.pid for process in found if _secure(process.pid)]
    if secure:
        raise Refused(
            f"Processes {secure} of {state.id} run with more rights than who started them (setuid, file capabilities): "
            "the loader preloads nothing into such programs. Nothing was touched."
        )
    return found


def writes_nowhere(state: UnitState, systemd: Systemd) -> bool:
    """Tell whether the unit sees /run read-only, so that its processes could not count."""
    return "=strict" in show(systemd, ("Id", "ProtectSystem"), "--", state.id)


def _look(pid: int) -> Optional[CudaProcess]:
    files = _files(pid)
    if not any(_DRIVER in os.path.basename(path) for path, _ in files):  # noqa: PTH119 (pathlib costs 9 ms at start)
        return None
    try:
        return CudaProcess(pid, os.stat(f"/proc/{pid}").st_uid, files)  # noqa: PTH116 (as above)
    except FileNotFoundError:
        return None


def _files(pid: int) -> Tuple[Tuple[str, str], ...]:
    """Read /proc/PID/maps: address, rights, offset, device, inode, path."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            rows = file.read().decode(errors="surrogateescape").splitlines()
    except OSError:
        return ()
    fields = (row.split(maxsplit=5) for row in rows)
    return tuple({(words[5], words[4]): None for words in fields if len(words) > 5 and words[5].startswith("/")})  # noqa: PLR2004 (of the six)


def _secure(pid: int) -> bool:
    """Read AT_SECURE out of what the kernel gave the process at its start; what cannot be read counts as secure."""
    try:
        with open(f"/proc/{pid}/auxv", "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            raw = file.read()
    except OSError:
        return True
    words = struct.unpack(f"@{len(raw) // _WORD}L", raw[: len(raw) // _WORD * _WORD])
    return bool(dict(zip(words[::2], words[1::2])).get(_AT_SECURE, 1))
