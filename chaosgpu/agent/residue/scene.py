# SPDX-License-Identifier: Apache-2.0
"""What the families look at: the host's files below one root, its programs, its driver, and our own leases.

A file that is not there is an answer. One that cannot be read is none: Unlooked, with the reason.
"""

import os
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from chaosgpu.agent.clock import Boot, Clock
from chaosgpu.agent.home import Home
from chaosgpu.agent.host import ClosableDriver
from chaosgpu.agent.residue.finding import Unlooked
from chaosgpu.agent.residue.leases import Leases
from chaosgpu.agent.residue.processes import Process, read_processes
from chaosgpu.agent.residue.programs import ask_program

__all__ = ["LAB", "Scene"]

LAB = "CHAOSGPU_AGENT_HOME"
_MOST_BYTES = 1 << 24  # as large as dpkg's list grows
_BLOCK_BYTES = 1 << 16  # some files of /proc refuse to be asked for more at once
_SYSTEMD = "/run/systemd/system"


@dataclass
class _Seen:
    """What was read already."""

    leases: Optional[Leases] = None
    processes: Optional[List[Process]] = None
    said: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """One host, looked at once: what is asked for twice is read once. `root` is another than "" in tests only."""

    home: Home
    clock: Clock
    boot: Boot
    claims_directory: str
    command: Tuple[str, ...]
    halt_files: Tuple[str, ...]
    new_driver: Optional[Callable[[], ClosableDriver]] = None
    root: str = ""
    run: Callable[[Sequence[str]], str] = ask_program
    user_id: int = field(default_factory=os.geteuid)
    _seen: _Seen = field(default_factory=_Seen, repr=False)

    def again(self) -> "Scene":
        """Return the same host for another look: nothing of the first one is kept."""
        return Scene(
            self.home, self.clock, self.boot, self.claims_directory, self.command, self.halt_files, self.new_driver,
            self.root, self.run, self.user_id,
        )  # fmt: skip

    @property
    def leases(self) -> Leases:
        """Our own leases: what they hold is no residue while they live."""
        if self._seen.leases is None:
            self._seen.leases = Leases(self.home, self.clock, self.boot)
        return self._seen.leases

    @property
    def processes(self) -> List[Process]:
        """Every process that can be seen, but for the one that looks."""
        if self._seen.processes is None:
            self._seen.processes = read_processes(self)
        return self._seen.processes

    @property
    def others(self) -> List[Process]:
        """Those that are not of a lab: what runs under a CHAOSGPU_AGENT_HOME is that lab's own affair."""
        return [process for process in self.processes if not process.variable(LAB)]

    @property
    def has_systemd(self) -> bool:
        """Tell whether systemd is PID 1 here; without it there are no units to look at."""
        return os.path.isdir(self.root + _SYSTEMD)  # noqa: PTH112 (pathlib costs 9 ms at start)

    def said(self, *words: str) -> str:
        """Ask a program, the same words once."""
        key = "\0".join(words)
        if key not in self._seen.said:
            self._seen.said[key] = self.run(words)
        return self._seen.said[key]

    def text(self, path: str) -> Optional[str]:
        """Return what is in a file; None where there is none."""
        try:
            # A pipe or a socket in the place of a file must not make us wait.
            descriptor = os.open(self.root + path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return _all_of(descriptor).decode(errors="replace")
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return None
        except IsADirectoryError:
            return ""
        except OSError as error:
            raise Unlooked(f"{path} cannot be read: {error.strerror}") from error

    def names(self, path: str) -> Tuple[str, ...]:
        """Return the names in a folder; none where there is no such folder."""
        try:
            return tuple(sorted(os.listdir(self.root + path)))  # noqa: PTH208 (pathlib costs 9 ms at start)
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return ()
        except OSError as error:
            raise Unlooked(f"{path} cannot be listed: {error.strerror}") from error

    def status(self, path: str, *, follow: bool = False) -> Optional[os.stat_result]:
        """Return what a name is; None where there is none."""
        try:
            return os.stat(self.root + path, follow_symlinks=follow)  # noqa: PTH116 (as above)
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return None
        except OSError as error:
            raise Unlooked(f"{path} cannot be looked at: {error.strerror}") from error

    def points_to(self, path: str) -> Optional[str]:
        """Return where a link points; None where it is no link."""
        try:
            return os.readlink(self.root + path)  # noqa: PTH115 (as above)
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return None
        except OSError as error:
            if isinstance(error, PermissionError):
                raise Unlooked(f"{path} cannot be looked at: {error.strerror}") from error
            return None

    def pids(self) -> Sequence[int]:
        """Return the pids there are."""
        return [int(name) for name in self.names("/proc") if name.isdigit()]


def _all_of(descriptor: int) -> bytes:
    blocks, size = [], 0
    while size < _MOST_BYTES:
        block = os.read(descriptor, _BLOCK_BYTES)
        if not block:
            break
        blocks.append(block)
        size += len(block)
    return b"".join(blocks)
