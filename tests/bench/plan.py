# SPDX-License-Identifier: Apache-2.0
"""What one bench is, written down before anything of it is made: names, addresses, folders, and whose it is."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from chaosgpu.agent.process import Identity, alive, identity

__all__ = ["BENCHES", "ROOT", "BenchFailed", "BenchPlan", "HostPlan", "me", "read_identity", "write_json"]

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / ".chaosgpu" / "bench"
# The bench has its network for itself, so this subnet is free by construction.
_NETWORK = "10.77.0"
_FIRST = 11
RUN = Path("/run/chaosgpu-bench")


class BenchFailed(Exception):
    """The bench could not be made, reached or taken down; the sentence says what to do."""


@dataclass(frozen=True)
class HostPlan:
    """One host: `name` is what it calls itself, `machine` is a name that no other bench's host has."""

    name: str
    machine: str
    address: str
    directory: str

    @property
    def root(self) -> Path:
        """Where its file system is mounted."""
        return Path(self.directory) / "root"

    @property
    def upper(self) -> Path:
        """What is the host's own over the common layers."""
        return Path(self.directory) / "upper"

    def path(self, name: str) -> Path:
        """Return a path in the host's folder."""
        return Path(self.directory) / name


@dataclass(frozen=True)
class BenchPlan:
    """A whole bench. `identity` names its network namespace and its cgroup; `owner` None means that it is kept."""

    identity: str
    directory: str
    layers: tuple[str, ...]
    binds: tuple[str, ...]
    hosts: tuple[HostPlan, ...]
    owner: Identity | None

    @property
    def gateway(self) -> str:
        """The controller's own address on the bridge."""
        return f"{_NETWORK}.1"

    @property
    def namespace(self) -> Path:
        """The network namespace that the bridge and the controller's end are in."""
        return Path("/run/netns") / self.identity

    @property
    def sockets(self) -> Path:
        """Where ssh's control sockets are: their paths must be short."""
        return RUN / self.identity

    def path(self, name: str) -> Path:
        """Return a path in the bench's folder."""
        return Path(self.directory) / name

    def write(self) -> None:
        """Write the plan down, beside the bench's folder: it is there before the folder and after it."""
        write_json(self.record, asdict(self))

    @property
    def record(self) -> Path:
        """Where the plan is written down: the first thing of a bench, and the last."""
        return _record(Path(self.directory))

    @classmethod
    def new(
        cls, directory: Path, count: int, layers: tuple[str, ...], binds: tuple[str, ...], owner: Identity | None
    ) -> "BenchPlan":
        """Name everything of a bench with `count` hosts."""
        short = os.urandom(3).hex()
        hosts = tuple(
            HostPlan(f"gpu{n}", f"gpu{n}-{short}", f"{_NETWORK}.{_FIRST + n - 1}", str(directory / "hosts" / f"gpu{n}"))
            for n in range(1, count + 1)
        )
        return cls(f"chaosgpu-bench-{short}", str(directory), layers, binds, hosts, owner)

    @classmethod
    def read(cls, directory: Path) -> "BenchPlan | None":
        """Read the plan of a folder; None where there is none."""
        path = _record(directory)
        try:
            return cls.from_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise BenchFailed(
                f"{path} cannot be read ({error}), so what belongs to that bench is not known. End its hosts by hand "
                "(`ip netns`, `findmnt -t overlay` show them), then remove the folder and this file."
            ) from error

    @classmethod
    def from_json(cls, text: bytes) -> "BenchPlan":
        """Read a plan from its JSON."""
        raw = json.loads(text)
        hosts = tuple(HostPlan(**host) for host in raw.pop("hosts"))
        owner = raw.pop("owner")
        layers, binds = tuple(raw.pop("layers")), tuple(raw.pop("binds"))
        who = None if owner is None else Identity(**owner)
        return cls(**raw, layers=layers, binds=binds, hosts=hosts, owner=who)

    @property
    def made(self) -> Path:
        """There when everything is made and the hosts have been started."""
        return self.path("made")

    @property
    def log(self) -> Path:
        """What the rack said: beside the bench's folder, so that it outlives it."""
        return Path(f"{self.directory}.log")

    @property
    def rack_record(self) -> Path:
        """Which process the rack is: there until it has removed everything else."""
        return Path(f"{self.directory}.rack.json")

    def rack(self) -> Identity | None:
        """Return the process that keeps the hosts, if it runs."""
        return read_identity(self.rack_record)

    def stale(self) -> bool:
        """Tell whether nobody is left who would take it down."""
        owned = self.owner is not None and not alive(self.owner)
        return owned or self.rack() is None


def _record(directory: Path) -> Path:
    return Path(f"{directory}.bench.json")


def write_json(path: Path, value: object) -> None:
    """Write a file as a whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    partial.replace(path)


def read_identity(path: Path) -> Identity | None:
    """Read a recorded process; None where there is none or it has ended."""
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    who = Identity(int(raw["pid"]), int(raw["start_time"]))
    return who if alive(who) else None


def me() -> Identity:
    """Return this process."""
    found = identity(os.getpid())
    if found is None:
        raise BenchFailed("This process cannot see itself in /proc; is /proc mounted?")
    return found
