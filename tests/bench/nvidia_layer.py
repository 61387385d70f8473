# SPDX-License-Identifier: Apache-2.0
"""The genuine NVIDIA packages of Debian non-free, three versions of the driver, one of them installed: as a layer.

They are fetched from this machine's own mirror. Installing one has DKMS build its modules against Debian's own kernel
headers, which takes minutes: it is done once, and its seconds are kept.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import groups, nspawn
from bench.base import base
from bench.cached import builders, cache_directory, cached
from bench.dkms_layer import dkms_layer
from bench.plan import BenchFailed
from bench.sources import APT, debian_mirror, sources_in
from support.debs import index

__all__ = ["DRIVER", "LIBRARY", "NvidiaLayer", "nvidia_layer"]

DRIVER, LIBRARY = "nvidia-kernel-dkms", "libcuda1"
_REPOSITORY = "srv/driver"
_SOURCE = "nvidia-graphics-drivers"
_WANTED = 3
_LONGEST_S = 3600.0


@dataclass(frozen=True)
class NvidiaLayer:
    """Its tree, the version that is installed, the others, and how long the installation took with its build."""

    upper: Path
    installed: str
    others: tuple[str, ...]
    install_s: float


def nvidia_layer(say: Callable[[str], None]) -> NvidiaLayer:
    """Return the layer; made once."""
    lower = (str(dkms_layer(say)), str(base(say)))
    inputs = f"{lower} {debian_mirror()}".encode() + Path(__file__).read_bytes()

    def build(folder: Path) -> None:
        root = nspawn.mount(lower, folder)
        try:
            (folder / "about.json").write_text(json.dumps(_fill(root, say)))
        finally:
            subprocess.run(["umount", str(root / "proc")], check=False, capture_output=True, timeout=20)
            subprocess.run(["umount", str(root)], check=True, timeout=20)
            shutil.rmtree(folder / "work")
            root.rmdir()

    place = cached(_cache() / f"nvidia-{hashlib.sha256(inputs).hexdigest()[:16]}", build)
    about = json.loads((place / "about.json").read_text())
    return NvidiaLayer(place / "upper", about["installed"], tuple(about["others"]), about["install_s"])


def _cache() -> Path:
    """Return a cache of its own: whoever builds something else must not wait for so long."""
    return cache_directory() / "long"


def _fill(root: Path, say: Callable[[str], None]) -> dict[str, object]:
    say("fetching the genuine NVIDIA packages of Debian non-free (some 300 MB, once)")
    resolver, sources = root / "etc/resolv.conf", root / "etc/apt/sources.list"
    shutil.copy("/etc/resolv.conf", resolver)
    shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
    sources.write_text("".join(_archives()))
    _in_root(root, "apt-get", "-q", "update")
    versions = _versions(root)
    for version in versions:
        _fetch(root, version)
    index(root / _REPOSITORY)
    sources.write_text(f"deb [trusted=yes] file:/{_REPOSITORY} ./\n")
    resolver.unlink()
    shutil.rmtree(root / "var/lib/apt/lists")
    _in_root(root, "apt-get", "-q", "update")
    # The one in the middle: there is one to go up to, and one to go down to.
    installed = versions[len(versions) // 2]
    say(f"installing {DRIVER} {installed}, which DKMS builds (minutes, once)")
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True, timeout=20)
    start = time.monotonic()
    _in_root(root, *_APT, "-o", f"Dir::Etc::Preferences={_pin(root, installed)}", "install", *_named(installed))
    others = [version for version in versions if version != installed]
    return {"installed": installed, "others": others, "install_s": round(time.monotonic() - start, 1)}


_APT = ("apt-get", "-q", "-y", "--no-install-recommends", "--allow-downgrades")


def _in_root(root: Path, *words: str) -> None:
    """Run a command in the tree; whoever is killed meanwhile leaves nothing running."""
    ours, log = builders(_cache()), _cache() / "nvidia.log"
    groups.make(ours)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with log.open("ab") as out:
        worker = subprocess.Popen(
            ["chroot", str(root), *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
            start_new_session=True, preexec_fn=groups.enter(ours),  # noqa: PLW1509 (a write, before threads)
        )  # fmt: skip
        try:
            status = worker.wait(_LONGEST_S)
        except subprocess.TimeoutExpired as error:
            raise BenchFailed(f"`{words[0]}` was not done within {_LONGEST_S:g} s; its log is {log}.") from error
        finally:
            groups.kill(ours)
            worker.wait()
    if status != 0:
        raise BenchFailed(f"`{words[0]}` ended with {status}; its log is {log}.")


def _archives() -> Iterator[str]:
    """Yield the machine's own Debian archives, with what is not free."""
    mirror = debian_mirror()
    for source in sources_in(APT):
        fixes = "debian-archive" in source.signed_by and all(suite.endswith("-security") for suite in source.suites)
        if source.is_debian() or fixes:
            for suite in source.suites:
                yield f"deb {source.uri} {suite} main contrib non-free non-free-firmware\n"
                if source.uri == mirror and "-" not in suite:
                    yield f"deb {source.uri} {suite}-backports main contrib non-free non-free-firmware\n"


def _versions(root: Path) -> list[str]:
    """Return the versions of the driver that can be had, the oldest first."""
    said = subprocess.run(
        ["chroot", str(root), "apt-cache", "madison", DRIVER], capture_output=True, text=True, check=True, timeout=60
    )
    found = sorted({row.split("|")[1].strip() for row in said.stdout.splitlines() if "Packages" in row})
    if len(found) < _WANTED:
        raise BenchFailed(f"{_WANTED} versions of {DRIVER} were expected on the mirror, and it has {found}.")
    return found[-_WANTED:]


def _fetch(root: Path, version: str) -> None:
    """Have every package file that this version needs in the repository; nothing is installed."""
    place = root / _REPOSITORY
    (place / "partial").mkdir(parents=True, exist_ok=True)
    options = ("-o", f"Dir::Etc::Preferences={_pin(root, version)}", "-o", f"Dir::Cache::archives=/{_REPOSITORY}")
    _in_root(root, *_APT, *options, "--download-only", "install", *_named(version))
    shutil.rmtree(place / "partial")


def _pin(root: Path, version: str) -> str:
    name = "/var/tmp/preferences"  # noqa: S108 (in a tree of ours)
    (root / name.lstrip("/")).write_text(f"Package: src:{_SOURCE}:any\nPin: version {version}\nPin-Priority: 1001\n")
    return name


def _named(version: str) -> tuple[str, ...]:
    return tuple(f"{name}={version}" for name in (DRIVER, LIBRARY))
