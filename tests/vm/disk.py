# SPDX-License-Identifier: Apache-2.0
"""The kernel and the disk that all virtual machines start from: made once, kept under the digest of their content.

The kernel is Debian's for clouds. It has NVMe and ext4 built in, so there is no initramfs to make and none to boot.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import files as bench_files
from bench.base import base
from bench.cached import cache_directory, cached
from bench.plan import BenchFailed
from chaosgpu.agent import zipapp
from chaosgpu.sim import build
from vm import guest

__all__ = ["Disk", "disk"]

_KERNEL = "linux-image-cloud-amd64"
_SIZE = "1500M"
_FETCH_S, _MAKE_S = 300.0, 120.0
_NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt")
_FETCH = f"""\
apt-get update -qq && cd /tmp &&
apt-get download -qq "$(apt-cache depends {_KERNEL} | sed -n 's/ *Depends: *//p' | head -n 1)"
"""


@dataclass(frozen=True)
class Disk:
    """What a virtual machine starts from, and the key that opens its ssh."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def image(self) -> Path:
        """The disk; it is copied, never started from."""
        return self.folder / "disk.img"


def disk(say: Callable[[str], None]) -> Disk:
    """Return it, making it if it is not there."""
    tree = _tree(say)
    with tempfile.TemporaryDirectory() as scratch:
        parts = [zipapp.build(Path(scratch) / "agent.pyz"), *guest.SOURCES, Path(bench_files.__file__), Path(__file__)]
        content = b"".join(part.read_bytes() for part in parts)
    digest = hashlib.sha256(content + f"{tree.name} {build.libraries().name} {_SIZE}".encode()).hexdigest()[:16]

    def make(folder: Path) -> None:
        say("making the disk of the virtual machines (some seconds, once for each version of the agent)")
        root = folder / "root"
        _run("cp", "-a", "--reflink=auto", str(tree / "root"), str(root))
        for name in ("key", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f", str(folder / name))
        guest.write_guest(root, folder, say)
        _run("mkfs.ext4", "-q", "-d", str(root), "-L", "root", str(folder / "disk.img"), _SIZE)
        shutil.copy(tree / "vmlinuz", folder)
        shutil.rmtree(root)

    return Disk(cached(cache_directory() / f"vmdisk-{digest}", make))


def _tree(say: Callable[[str], None]) -> Path:
    """Return the test hosts' Debian with a kernel's modules, and the kernel beside it."""
    debian = base(say)
    recipe = f"{debian.name} {_KERNEL} {_NOT_NEEDED} {_FETCH}"

    def make(folder: Path) -> None:
        say(f"fetching {_KERNEL} (27 MB, once)")
        root, unpacked = folder / "root", folder / "unpacked"
        _run("cp", "-a", "--reflink=auto", str(debian), str(root))
        _run("chroot", str(root), "sh", "-c", _FETCH, within_s=_FETCH_S)
        [package] = (root / "tmp").glob("linux-image-*.deb")
        _run("dpkg-deb", "-x", str(package), str(unpacked))
        package.unlink()
        [kernel] = (unpacked / "boot").glob("vmlinuz-*")
        kernel.rename(folder / "vmlinuz")
        (unpacked / "lib/modules").rename(root / "usr/lib/modules")
        _run("chroot", str(root), "depmod", "-a", kernel.name.removeprefix("vmlinuz-"))
        for name in _NOT_NEEDED:
            shutil.rmtree(root / name, ignore_errors=True)
        shutil.rmtree(unpacked)

    return cached(cache_directory() / f"vmtree-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}", make)


def _run(*command: str, within_s: float = _MAKE_S) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"`{' '.join(command)}` ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
