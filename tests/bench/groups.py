# SPDX-License-Identifier: Apache-2.0
"""One cgroup a bench and one a host in it: what is in there was started by us, and only that is ever ended."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.plan import BenchFailed

__all__ = ["end", "enter", "first_version", "folders", "has_first_version", "kill", "make", "mine", "pids", "remove"]

_END_S = 10.0


# Where nspawn writes too, and where a host is given a limit.
_FIRST_VERSION = ("name=systemd", "memory", "pids")


def _mounted() -> dict[str, Path]:
    """Return where cgroups are mounted: version 2 under an empty name, then those of version 1 that we use."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point, kind = Path(before.split()[4]), after.split()
        if kind[0] == "cgroup2":
            found.setdefault("", point)
        elif kind[0] == "cgroup":
            found |= {name: point for name in kind[2].split(",") if name in _FIRST_VERSION}
    if "" not in found:
        raise BenchFailed("This machine has no cgroup v2 hierarchy mounted, and hosts run by systemd need one.")
    return found


def _hierarchies() -> list[Path]:
    found = _mounted()
    return [found[""], *(found[name] for name in _FIRST_VERSION if name in found)]


def has_first_version(controller: str) -> bool:
    """Tell whether this machine has a version 1 hierarchy of this controller."""
    return controller in _mounted()


def first_version(controller: str) -> Path:
    """Return where that hierarchy is."""
    return _mounted()[controller]


def folders(name: str) -> list[Path]:
    """Return where a group of this name is or would be."""
    return [point / name for point in _hierarchies()]


def make(name: str) -> None:
    """Make a group."""
    folders(name)[0].mkdir(parents=True, exist_ok=True)


def enter(name: str) -> Callable[[], None]:
    """Return what a child calls before it starts its program: it is in the group from its first moment."""
    procs = str(folders(name)[0] / "cgroup.procs")

    def go() -> None:
        descriptor = os.open(procs, os.O_WRONLY)
        os.write(descriptor, b"0")
        os.close(descriptor)

    return go


def mine() -> Path:
    """Return the group that this process is in."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next(line.removeprefix("0::") for line in lines if line.startswith("0::"))
    return _hierarchies()[0] / path.lstrip("/")


def pids(name: str) -> list[int]:
    """List the processes of a group and of those in it."""
    group = folders(name)[0]
    return sorted({int(pid) for procs in group.rglob("cgroup.procs") for pid in _read(procs).split() if pid != "0"})


def kill(name: str) -> None:
    """Kill all of a group at once and wait until it is empty."""
    group = folders(name)[0]
    if not group.exists():
        return
    deadline = time.monotonic() + _END_S
    while "populated 1" in _read(group / "cgroup.events"):
        with suppress(OSError):  # another of us has removed it meanwhile
            (group / "cgroup.kill").write_text("1")
        if time.monotonic() > deadline:
            raise BenchFailed(f"The processes {pids(name)} of {name} did not end within {_END_S:g} s of SIGKILL.")
        time.sleep(0.01)


def end(name: str) -> None:
    """Kill all of a group and remove it."""
    kill(name)
    remove(name)


def remove(name: str) -> None:
    """Remove the empty folders of a group in every hierarchy."""
    for group in folders(name):
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(FileNotFoundError):  # another of us was quicker
                Path(folder).rmdir()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # it went meanwhile
