# SPDX-License-Identifier: Apache-2.0
"""Puts pinned packages into a folder of the cache, once; later calls find them there."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed
from chaosgpu.lab.install import cache_directory

__all__ = ["PACKAGES", "Packages", "packages"]

_INSTALL_S = 300.0


@dataclass(frozen=True)
class Packages:
    """What one database of the lab is made of. `build` names the wheels where they are not those of this Python."""

    name: str
    megabytes: int
    build: tuple[str, ...] = ()

    @property
    def requirements(self) -> Path:
        """The file with versions and hashes."""
        return Path(__file__).with_name(f"requirements-{self.name}.txt")


PACKAGES = {
    one.name: one
    for one in (
        Packages("chroma", 23),
        # Programs in a wheel for one Python; any Python may unpack them.
        Packages("pgvector", 11, ("--python-version=3.12", "--implementation=cp", "--abi=cp312",
                                  "--platform=manylinux2014_x86_64")),
        Packages("milvus", 110),
        # Not a database: the gateway before them.
        Packages("gateway", 4),
    )
}  # fmt: skip


def packages(name: str, say: Callable[[str], None]) -> Path:
    """Return the folder of a database's packages, installed if they are not; two callers make one installation."""
    wanted = PACKAGES[name]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(wanted.requirements.read_bytes() + " ".join((version, *wanted.build)).encode()).hexdigest()
    home = cache_directory() / f"{name}-{digest[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    done = home / "installed"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            say(f"installing {name} into {home} ({wanted.megabytes} MB, once)")
            _install(wanted, home / "packages")
            done.touch()
    return home / "packages"


def _install(wanted: Packages, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)  # what an interrupted installation left
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--require-hashes", *wanted.build, "--target", str(target),
               "-r", str(wanted.requirements)]  # fmt: skip
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabFailed(f"Installing the lab's {wanted.name}: pip did not end well: {error}.") from error
    if said.returncode != 0:
        last = "\n".join((said.stderr or said.stdout).strip().splitlines()[-5:])
        raise LabFailed(
            f"Installing the lab's {wanted.name} ended with {said.returncode}. It is pinned for CPython 3.12 and 3.13 "
            f"on x86-64 Linux.\n{last}"
        )
