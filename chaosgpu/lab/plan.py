# SPDX-License-Identifier: Apache-2.0
"""What one lab is, written down before it starts: folders, ports, environment, lifetime."""

import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed

__all__ = [
    "TIED",
    "LabPlan",
    "Running",
    "Service",
    "alive",
    "free_port",
    "free_ports",
    "me",
    "new_identity",
    "process_start",
    "write_json",
]

# In the guardian's environment: "1" where standard input holds the lab up.
TIED = "CHAOSGPU_LAB_TIED"
SHM = Path("/dev/shm")  # noqa: S108 (where Triton's Python backend keeps its regions)


@dataclass(frozen=True)
class Service:
    """One more process of a lab: its name is that of its log."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def from_json(cls, source: dict[str, object]) -> "Service":
        """Read what `asdict` wrote."""
        return cls(**{**source, "command": tuple(source["command"])})  # type: ignore[arg-type] # our own file


@dataclass(frozen=True)
class LabPlan:
    """One lab. `serving` is the environment of Triton itself, `exported` is what a user's command gets."""

    identity: str
    directory: str
    variant: str
    gpu: str
    server: str
    backends: str
    http_port: int
    lifetime_s: float
    with_traffic: bool
    serving: dict[str, str]
    exported: dict[str, str]
    models: tuple[str, ...] = ("chat",)
    services: tuple[Service, ...] = ()

    @property
    def url(self) -> str:
        """Triton's HTTP address."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def shm_prefix(self) -> str:
        """The name with which every shared memory region of this lab begins."""
        return f"chaosgpu_lab_{self.identity}_"

    def path(self, name: str) -> Path:
        """Return a path inside the lab's folder."""
        return Path(self.directory) / name

    def write(self) -> None:
        """Write the plan, readable by its owner alone."""
        write_json(self.path("lab.json"), asdict(self))

    @classmethod
    def read(cls, directory: Path) -> "LabPlan | None":
        """Read the plan of a lab's folder; None where there is none."""
        try:
            source = json.loads((directory / "lab.json").read_text())
            services = tuple(Service.from_json(one) for one in source.pop("services", ()))
            return cls(**{**source, "models": tuple(source.get("models", ("chat",)))}, services=services)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise LabFailed(f"{directory / 'lab.json'} cannot be read ({error}); remove the folder by hand.") from error

    def leftover_shm(self) -> list[Path]:
        """List the shared memory regions of this lab."""
        return sorted(SHM.glob(f"{self.shm_prefix}*"))


@dataclass(frozen=True)
class Running:
    """A process by number and start time, so that a number used again is not mistaken for it."""

    pid: int
    start: int


def write_json(path: Path, value: object) -> None:
    """Write a file as a whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(value, indent=1) + "\n")
    partial.replace(path)


def new_identity() -> str:
    """Make a short name that no other lab on this machine has."""
    return f"{int(time.time()):x}{secrets.token_hex(3)}"


def process_start(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; None for one that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def me() -> Running:
    """Return this process."""
    start = process_start(os.getpid())
    if start is None:
        raise LabFailed("This process cannot see itself in /proc; is /proc mounted?")
    return Running(os.getpid(), start)


def alive(process: Running) -> bool:
    """Say whether exactly this process still runs."""
    return process_start(process.pid) == process.start


def free_port() -> int:
    """Find a free loopback port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def free_ports() -> int:
    """Find three free loopback ports in a row, HTTP, gRPC, metrics: Triton's own habit (8000, 8001, 8002)."""
    for _ in range(50):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        try:
            for offset in range(3):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port + offset))
        except (OSError, OverflowError):
            continue
        return int(port)
    raise LabFailed("Three free ports in a row could not be found on 127.0.0.1.")
