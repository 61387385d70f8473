# SPDX-License-Identifier: Apache-2.0
"""The host that is drilled: its agent, its own state root with the drill's folder in it, and nobody else's drill."""

import contextlib
import fcntl
import os
from dataclasses import dataclass
from typing import Iterator, List, Mapping, Optional, Sequence

from chaosgpu.agent.clock import Clock, SystemClock
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.own_folder import open_folder
from chaosgpu.agent.faults.selfdrill import FOLDER
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home, find_home
from chaosgpu.agent.record import ENDED
from chaosgpu.agent.systemd import Systemd, find_systemd
from chaosgpu.agent.triggers.asking import Agent
from chaosgpu.agent.triggers.interrupting import undisturbed
from chaosgpu.agent.triggers.sweeps import Sweeps, sweeps_of
from chaosgpu.agent.values import JsonMapping

__all__ = ["RUN", "Scene", "scene_of"]

RUN = "self-drill-triggers"  # by it the leases of a drill that was killed are found
_PREFIX = "self-drill-"


@dataclass(frozen=True)
class Scene:
    """What a drill works with; `left` is what could not be taken away again when it ended, in sentences."""

    agent: Agent
    home: Home
    systemd: Optional[Systemd]
    clock: Clock
    sweeps: Sweeps
    left: List[str]

    @property
    def folder(self) -> str:
        """The folder of the files whose text is changed."""
        return f"{self.home.path}/{FOLDER}"

    def file(self, lease: str) -> str:
        """Return the file of a lease."""
        return f"{self.folder}/{lease}"

    def lease(self, lease: str) -> LeaseFolder:
        """Return a lease's folder, to look at its locks and nothing else."""
        return LeaseFolder(self.home, lease, self.clock)

    def name(self) -> str:
        """Return what the leases and files of one drill begin with."""
        return f"{_PREFIX}{os.urandom(4).hex()}"

    def make(self, lease: str, text: str) -> None:
        """Make the file of a lease, which is not there yet."""
        with self._opened() as folder:
            new = os.open(lease, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
            with os.fdopen(new, "w", encoding="utf-8") as file:
                file.write(text)

    def text(self, lease: str) -> str:
        """Read it back, past the agent."""
        try:
            with open(self.file(lease), encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (as everywhere in the agent)
                return file.read()
        except OSError as error:
            raise Refused(f"The drill's own {self.file(lease)} cannot be read: {error.strerror}.") from error

    def end(self, lease: str) -> None:
        """Undo a lease, whatever has become of it, and remove its file if nobody needs it any more."""
        self._remove([lease], self.agent.asked("undo", lease=lease))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the host against another drill; before and after, nothing of one is in force and no file is left."""
        lock = self._lock()
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)  # noqa: PTH103 (as above)
            self._tidy()
            yield
        except OSError as error:
            raise Refused(f"The drill cannot work in {self.folder}: {error}.") from error
        finally:
            with undisturbed():
                self._tidy()
                with contextlib.suppress(OSError):  # a file is left, and told
                    os.rmdir(self.folder)  # noqa: PTH106 (as above)
                os.close(lock)

    def _lock(self) -> int:
        """Lock the state root, which stays, and not the drill's folder, which goes."""
        try:
            os.makedirs(self.home.path, exist_ok=True)  # noqa: PTH103 (as above)
            lock = os.open(self.home.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Refused(f"The state root {self.home.path} cannot be had: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise Refused("Another drill of the triggers runs on this host: wait until it has ended.") from error
        return lock

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the drill's folder, which is never another one that a link leads to."""
        folder = open_folder(self.folder, os.geteuid())
        try:
            yield folder
        finally:
            os.close(folder)

    def _tidy(self) -> None:
        """Undo every lease of a drill, and remove its files; by name too, since a killed drill's apply may yet come."""
        with self._opened() as folder:
            names = [name for name in os.listdir(folder) if name.startswith(_PREFIX)]  # noqa: PTH208 (as above)
        undone = [self.agent.asked("undo", lease=name) for name in names]
        self.left[:] = self._remove(names, self.agent.asked("undo", run=RUN), *undone)

    def _remove(self, names: Sequence[str], *undone: JsonMapping) -> List[str]:
        """Remove these files but those that an undo has not put back; return which leases these are, in sentences."""
        lists = [answer["leases"] for answer in undone]
        found = [line for lines in lists if isinstance(lines, list) for line in lines if isinstance(line, dict)]
        kept = {str(line["lease"]): line for line in found if line["state"] not in ENDED}
        with self._opened() as folder:
            for name in set(names) - set(kept):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        return [f"lease {lease} is {line['state']}: {line['reason']}" for lease, line in kept.items()]


def scene_of(command: Sequence[str], environment: Mapping[str, str]) -> Scene:
    """Return this host as it is; Refused where it cannot be drilled."""
    if os.geteuid() != 0:
        raise Refused("The triggers of a host are root's: start the drill as root.")
    home = find_home(environment, 0)
    if home.limited:
        raise Refused("CHAOSGPU_AGENT_HOME is set, and the triggers are those of the host's own agent: unset it.")
    agent = Agent(command, environment)
    if not os.access(agent.path, os.R_OK):
        raise Refused(f"There is no agent at {agent.path}: install it there (docs/fleet.md), or name it with --agent.")
    systemd, clock = find_systemd(), SystemClock()
    return Scene(agent, home, systemd, clock, sweeps_of(systemd, clock), [])
