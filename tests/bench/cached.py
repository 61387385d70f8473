# SPDX-License-Identifier: Apache-2.0
"""A folder that is made once: beside its place and renamed, by one process however many ask, whole or not at all."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import groups
from bench.leftovers import unmount_below

__all__ = ["builders", "cache_directory", "cached"]

_UNUSED_S = 86400.0


def cache_directory() -> Path:
    """Return the folder for what can be made again: `$XDG_CACHE_HOME/chaosgpu/bench`."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "chaosgpu" / "bench"


def builders(cache: Path) -> str:
    """Name the cgroup of whoever builds in this cache."""
    return f"chaosgpu-build-{hashlib.sha256(str(cache.resolve()).encode()).hexdigest()[:12]}"


def cached(place: Path, make: Callable[[Path], None]) -> Path:
    """Return the folder; where it is not there, `make` fills one beside it, which is then renamed."""
    cache = place.parent
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            # We hold the lock: whatever still builds here belongs to a builder that was killed.
            groups.end(builders(cache))
            for stale in cache.glob("build-*"):
                _remove(stale)
            folder = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
            try:
                make(folder)
                folder.chmod(0o755)
                folder.rename(place)
            finally:
                groups.end(builders(cache))
                _remove(folder)
            _prune(place)
        os.utime(place)
    return place


def _prune(place: Path) -> None:
    """Remove what was built in place of this before, and has not been used for a day."""
    kind = place.name.partition("-")[0]
    mounts = Path("/proc/self/mountinfo").read_text()
    for other in place.parent.glob(f"{kind}-*"):
        unused = time.time() - other.stat().st_mtime > _UNUSED_S and str(other) not in mounts
        if other != place and unused:
            _remove(other)


def _remove(folder: Path) -> None:
    if folder.exists():
        unmount_below(folder)  # debootstrap mounts /proc and /sys in there
        shutil.rmtree(folder)
