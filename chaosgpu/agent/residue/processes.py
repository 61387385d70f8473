# SPDX-License-Identifier: Apache-2.0
"""The processes of the host as /proc shows them, read once for all families."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from chaosgpu.agent.residue.finding import Unlooked

if TYPE_CHECKING:
    from chaosgpu.agent.residue.scene import Scene

__all__ = ["Process", "read_processes"]

# Positions after the name in /proc/PID/stat (proc(5)).
_STATE, _PARENT, _SESSION, _TERMINAL, _FLAGS = 0, 1, 3, 4, 6
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD
_SHORT_NAME = 15


@dataclass(frozen=True)
class Process:
    """One process; `environment` is None where it cannot be read."""

    pid: int
    parent: int
    state: str
    terminal: int
    session: int
    short_name: str
    words: Tuple[str, ...]
    environment: Optional[Dict[str, str]]
    group: str  # the path of its cgroup

    @property
    def program(self) -> str:
        """The name of its program, as its first word has it, or the kernel where that was overwritten."""
        return os.path.basename(self.words[0]) if self.words else self.short_name  # noqa: PTH119 (9 ms at start)

    @property
    def shown(self) -> str:
        """Its pid and its first words."""
        return f"{self.pid} ({' '.join(self.words)[:80] or self.short_name})"

    def called(self, *names: str) -> bool:
        """Tell whether it is one of these programs; the kernel keeps 15 letters of a name."""
        return any(self.program == name or self.short_name == name[:_SHORT_NAME] for name in names)

    def variable(self, name: str) -> str:
        """Return one of its variables, empty where there is none or it cannot be read."""
        return (self.environment or {}).get(name, "")


def read_processes(scene: "Scene") -> List[Process]:
    """Return them all, without kernel threads and zombies; one that ends meanwhile is left out."""
    ours = os.getpid() if not scene.root else 0
    found = []
    for pid in scene.pids():
        process = None if pid == ours else _read(scene, pid)
        if process is not None:
            found.append(process)
    return found


def _read(scene: "Scene", pid: int) -> Optional[Process]:
    stat = scene.text(f"/proc/{pid}/stat")
    if not stat or ")" not in stat:
        return None
    fields = stat.rpartition(")")[2].split()
    if int(fields[_FLAGS]) & _KERNEL_THREAD or fields[_STATE] in ("Z", "X"):
        return None
    words = (scene.text(f"/proc/{pid}/cmdline") or "").split("\0")
    groups = (scene.text(f"/proc/{pid}/cgroup") or "").splitlines()
    return Process(
        pid=pid,
        parent=int(fields[_PARENT]),
        state=fields[_STATE],
        terminal=int(fields[_TERMINAL]),
        session=int(fields[_SESSION]),
        short_name=stat[stat.index("(") + 1 : stat.rindex(")")],
        words=tuple(words[:-1] if words[-1] == "" else words),
        environment=_environment(scene, pid),
        group=next((line.split(":", 2)[2] for line in groups if line.startswith(("0::", "1:name=systemd:"))), ""),
    )


def _environment(scene: "Scene", pid: int) -> Optional[Dict[str, str]]:
    try:
        raw = scene.text(f"/proc/{pid}/environ")
    except Unlooked:
        return None
    return {} if raw is None else dict(pair.split("=", 1) for pair in raw.split("\0") if "=" in pair)
