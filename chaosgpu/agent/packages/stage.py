# SPDX-License-Identifier: Apache-2.0
"""Package files fetched and kept before anything changes, each under its SHA-256: the way back needs no mirror.

What no mirror and no cache has any more is refused. `dpkg-repack` could make a package file from what is installed,
but not the same one: that is a person's decision.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.packages.files import content_digest
from chaosgpu.agent.packages.status import Package, stanzas
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.store import sync_folder

__all__ = ["Staged", "refuse_full", "refuse_memory", "same_build", "stage", "sync_file"]

_FETCH_S = 600.0
_READ_S = 60.0
_ARCHIVES = "/var/cache/apt/archives"
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Staged:
    """One package file."""

    name: str
    version: str
    file: str
    sha256: str


def stage(tools: Tools, folder: Path, wanted: Mapping[str, str], native: str) -> Dict[str, Staged]:
    """Have the file of each package in this folder, durable; from apt's cache where it is there, else by apt."""
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import dnf  # noqa: PLC0415 (most hosts are of the other kind)

        return _durable(folder, dnf.stage(tools, folder, wanted))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _from_archives(tools, folder, wanted)
    found = _read(tools, folder, native)
    missing = _missing(wanted, found)
    if missing:
        named = [f"{name}={version}" for name, version in sorted(missing.items())]
        said = tools.run(tools.apt("apt-get", "-q", "download", *named), _FETCH_S, cwd=str(folder))
        found = _read(tools, folder, native)
        missing = _missing(wanted, found)
        if missing:
            gone = ", ".join(f"{name} {version}" for name, version in sorted(missing.items()))
            raise Refused(
                f"No package file could be had of {gone}, and without it there is no way there and back: "
                f"{said.sentence()}. Bring it to {_ARCHIVES} or to the mirror (where it is installed and nowhere to be "
                "had any more, dpkg-repack makes one); nothing was changed."
            )
    return _durable(folder, {name: one for name, one in found.items() if name in wanted})


def _durable(folder: Path, found: Dict[str, Staged]) -> Dict[str, Staged]:
    for one in found.values():
        sync_file(folder / one.file)
    sync_folder(str(folder))
    return found


def refuse_full(tools: Tools, folder: Path, wanted: Iterable[Tuple[str, str]], more_bytes: int = 0) -> None:
    """Refuse where the disk has little room left: a change that runs out of it half-way helps nobody.

    `folder` need not be there yet. What no list of packages knows the size of counts nothing.
    """
    named = sorted({f"{name}={version}" for name, version in wanted})
    needed = _size(tools, named) + more_bytes + _SPARE_BYTES
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise Refused(
            f"{there} has {free >> 20} MiB left, and keeping the files of {len(named)} packages takes "
            f"{needed >> 20} MiB with some to spare: free some; nothing was changed."
        )


def _size(tools: Tools, named: Sequence[str]) -> int:
    if tools.rpm:  # what is installed of them, once for each side: a package file is smaller than what it unpacks
        names = [one.partition("=")[0] for one in named]
        said = tools.run(("rpm", "-q", "--qf", "%{LONGSIZE}\\n", *names), _READ_S).out if names else ""
        return sum(int(line) for line in said.split() if line.isdigit())
    said = tools.run(tools.apt("apt-cache", "show", *named), _READ_S).out if named else ""
    files = {row.get("Filename", ""): int(row["Size"]) for row in stanzas(said) if row.get("Size", "").isdigit()}
    return sum(files.values())


def refuse_memory(root: str) -> None:
    """Refuse a state root that a reboot empties: the packages would stay, and nobody would know how they were."""
    best, kind = "", ""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 (as in /proc)
        for line in file:
            _, point, found = line.split(" ")[:3]
            if (root == point or root.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
                best, kind = point, found
    if kind in ("tmpfs", "ramfs"):
        raise Refused(
            f"{root} is on {kind}, so after a reboot nobody would know how the packages were: move it to a disk."
        )


def same_build(tools: Tools, path: Path, package: Package) -> bool:
    """Tell whether a package file is what is installed, not another build of the same version; by its list of files."""
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import dnf  # noqa: PLC0415 (most hosts are of the other kind)

        return dnf.same_build(tools, path, package)
    for name in (f"{package.name}:{package.architecture}", package.name):
        installed = tools.admin / "info" / f"{name}.md5sums"
        if installed.exists():
            said = tools.run(("dpkg-deb", "--info", str(path), "md5sums"), _READ_S)
            return said.out.split() == installed.read_text(encoding="utf-8", errors="replace").split()
    return True


def sync_file(path: Path) -> None:
    """Make a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _missing(wanted: Mapping[str, str], found: Mapping[str, Staged]) -> Dict[str, str]:
    return {name: version for name, version in wanted.items() if name not in found or found[name].version != version}


def _from_archives(tools: Tools, folder: Path, wanted: Mapping[str, str]) -> None:
    archives = tools.path(_ARCHIVES)
    for name, version in wanted.items():
        plain, upstream = name.split(":")[0], version.replace(":", "%3a")
        for path in sorted(archives.glob(f"{plain}_{upstream}_*.deb")) if archives.is_dir() else ():
            shutil.copyfile(path, folder / path.name)


def _read(tools: Tools, folder: Path, native: str) -> Dict[str, Staged]:
    """Return the package files in a folder, by what they say themselves to be."""
    found: Dict[str, Staged] = {}
    for path in sorted(folder.glob("*.deb")):
        fields = _fields(tools, path)
        if fields is None:
            path.unlink()  # cut off half-way, or no package at all
            continue
        if path.is_symlink():  # apt may only point to a file: archive
            real = path.resolve()
            path.unlink()
            shutil.copyfile(real, path)
        own = fields.get("Architecture") in (native, "all")
        name = fields["Package"] if own else f"{fields['Package']}:{fields.get('Architecture')}"
        found[name] = Staged(name, fields.get("Version", ""), path.name, content_digest(path))
    return found


def _fields(tools: Tools, path: Path) -> Optional[Dict[str, str]]:
    said = tools.run(("dpkg-deb", "--field", str(path), "Package", "Version", "Architecture"), _READ_S)
    rows: List[Dict[str, str]] = list(stanzas(said.out))
    return rows[0] if said.well and rows and "Package" in rows[0] else None
