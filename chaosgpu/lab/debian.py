# SPDX-License-Identifier: Apache-2.0
"""Programs out of Debian's packages, unpacked into the cache: nothing is installed and no service is started."""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from chaosgpu.errors import LabFailed
from chaosgpu.lab.install import cache_directory

__all__ = ["library_path", "unpacked"]

_FETCH_S = 180.0


def unpacked(packages: Sequence[str], say: Callable[[str], None]) -> Path:
    """Return a folder with the files of these packages, without those that they depend on; made once, then kept."""
    name = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:16]
    home = cache_directory() / f"debian-{name}"
    home.mkdir(parents=True, exist_ok=True)
    done = home / "unpacked"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            say(f"unpacking {', '.join(packages)} into {home} (once; nothing is installed)")
            _unpack_into(home, packages)
            done.touch()
    return home / "root"


def library_path(root: Path) -> str:
    """Return the folders in which unpacked programs find unpacked libraries."""
    return ":".join(str(folder) for folder in sorted((root / "usr/lib").glob("*-linux-gnu*")))


def _unpack_into(home: Path, packages: Sequence[str]) -> None:
    for name in ("root", "fetched"):
        shutil.rmtree(home / name, ignore_errors=True)  # what an interrupted attempt left
        (home / name).mkdir()
    _run(["apt-get", "download", "-qq", *packages], home / "fetched")
    for package in sorted((home / "fetched").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(home / "root")], home)
    shutil.rmtree(home / "fetched")


def _run(command: list[str], folder: Path) -> None:
    what = f"Fetching Debian packages for the lab: {' '.join(command)}"
    try:
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabFailed(f"{what} did not end well: {error}. This part of the lab needs Debian or Ubuntu.") from error
    if said.returncode != 0:
        last = (said.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LabFailed(f"{what} ended with {said.returncode}: {last}. Are the package lists there (apt-get update)?")
