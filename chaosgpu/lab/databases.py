# SPDX-License-Identifier: Apache-2.0
"""One real vector database on this machine: started with a deadline, ended with everything that it started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import LabFailed
from chaosgpu.lab.engines import ENGINES, Engine, Place, new_key
from chaosgpu.lab.family import end, is_stopped, signal_all
from chaosgpu.lab.packages import packages
from chaosgpu.lab.processes import die_with_parent

__all__ = ["Database", "prepared", "running_database"]

READY_S = 60.0
_END_S = 10.0
_POLL_S = 0.02


def free_port() -> int:
    """Find a free loopback port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(eq=False)
class Database:
    """A database of the lab, whether it runs or not. Whoever starts it ends it; it dies with its parent."""

    engine: Engine
    place: Place
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address, as the backends take it."""
        return self.engine.url(self.place)

    @property
    def key(self) -> str | None:
        """Its password, where it has one."""
        return self.place.key if self.engine.has_key else None

    @property
    def pid(self) -> int:
        """Its first process."""
        if self.process is None:
            raise LabFailed(f"The lab's {self.engine.name} was not started.")
        return self.process.pid

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the process and do not wait for it to answer."""
        parent = os.getpid()
        as_user = self.engine.as_user

        def before_exec() -> None:
            if as_user is not None:
                as_user()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever starts it may have blocked what ends it
            die_with_parent(signal.SIGKILL, parent)()

        with (self.place.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.engine.command(self.place),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.engine.environment(self.place),
                cwd=self.place.folder,
                start_new_session=True,
                preexec_fn=before_exec,  # noqa: PLW1509 (the lab starts its databases from one thread)
            )
        return self.process

    def start(self, within_s: float = READY_S) -> float:
        """Start it and wait until it answers; return the seconds that took.

        A start that ends at once is tried again until the time is up: PostgreSQL refuses while processes of the one
        before are still leaving.
        """
        began = time.monotonic()
        self.launch()
        while time.monotonic() - began < within_s:
            if self.process is None or self.process.poll() is not None:
                time.sleep(_POLL_S * 5)
                self.launch()
            if self.engine.answers(self.place):
                return time.monotonic() - began
            time.sleep(_POLL_S)
        self.stop()
        raise LabFailed(f"The lab's {self.engine.name} did not answer within {within_s:g} s:\n{self.last_words()}")

    def stop(self) -> None:
        """End it in order; what does not go is killed."""
        if self.process is not None:
            end(self.process, self.engine.end_signal, _END_S)
            self.process = None

    def kill(self) -> None:
        """Kill its first process, as the kernel or a person would: the others have to see to it."""
        os.kill(self.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(_END_S)

    def freeze(self) -> list[int]:
        """Stop every process of it, and wait until they are: its port goes on accepting. Returns them."""
        reached = signal_all(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + _END_S
        while not all(map(is_stopped, reached)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return reached

    def thaw(self) -> None:
        """Let them all go on."""
        signal_all(self.pid, signal.SIGCONT)

    def last_words(self) -> str:
        """Return the end of its log."""
        log = self.place.folder / "server.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else "it has no log"


def prepared(name: str, folder: Path, say: Callable[[str], None], *, port: int | None = None) -> Database:
    """Install a database where that is not done yet and lay its folder out; it is not started."""
    if name not in ENGINES:
        raise LabFailed(f"The lab has no database {name!r}; it has: {', '.join(ENGINES)}.")
    engine = ENGINES[name]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = Place(folder.resolve(), port or free_port(), packages(name, say), new_key())
    engine.lay_out(place)
    return Database(engine, place)


@contextmanager
def running_database(name: str, folder: Path, say: Callable[[str], None]) -> Iterator[Database]:
    """Run a database for as long as the block lasts."""
    database = prepared(name, folder, say)
    database.start()
    try:
        yield database
    finally:
        database.stop()
