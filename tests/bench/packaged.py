# SPDX-License-Identifier: Apache-2.0
"""More of Debian's packages over the hosts' Debian, as a layer: made once, kept in the cache under how it was made."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import groups, nspawn
from bench.base import base
from bench.cached import builders, cache_directory, cached
from bench.plan import BenchFailed

__all__ = ["packaged"]

_INSTALL_S = 600.0


def packaged(name: str, packages: tuple[str, ...], say: Callable[[str], None]) -> Path:
    """Return the layer with these packages and what they need; no recommended ones."""
    lower = base(say)
    inputs = f"{lower.name} {packages}".encode() + Path(__file__).read_bytes()

    def build(folder: Path) -> None:
        say(f"installing {', '.join(packages)} over the test hosts' Debian (once)")
        root = nspawn.mount((str(lower),), folder)
        resolver = root / "etc/resolv.conf"
        had = resolver.exists()
        if not had:
            shutil.copy("/etc/resolv.conf", resolver)
        try:
            _in_root(root, "apt-get", "-q", "update")
            _in_root(root, "apt-get", "-q", "-y", "--no-install-recommends", "install", *packages)
            _in_root(root, "apt-get", "clean")
        finally:
            if not had:
                resolver.unlink()
            subprocess.run(["umount", str(root)], check=True, timeout=20)
            shutil.rmtree(folder / "work")
            root.rmdir()

    return cached(cache_directory() / f"{name}-{hashlib.sha256(inputs).hexdigest()[:16]}", build) / "upper"


def _in_root(root: Path, *words: str) -> None:
    """Run a command in the tree, in the builders' own group: whoever is killed meanwhile leaves nothing running."""
    ours, log = builders(cache_directory()), cache_directory() / "packaged.log"
    groups.make(ours)
    with log.open("ab") as out:
        worker = subprocess.Popen(
            ["chroot", str(root), *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
            preexec_fn=groups.enter(ours),  # noqa: PLW1509 (a write, before threads)
        )
        try:
            status = worker.wait(_INSTALL_S)
        except subprocess.TimeoutExpired as error:
            raise BenchFailed(f"`{words[0]}` was not done within {_INSTALL_S:g} s; its log is {log}.") from error
        finally:
            groups.kill(ours)
            worker.wait()
    if status != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise BenchFailed(f"`{' '.join(words[:4])}` ended with {status}; its log {log} ends:\n{last}")
