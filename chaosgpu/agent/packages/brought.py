# SPDX-License-Identifier: Apache-2.0
"""What package files bring that is not on the host: dpkg, killed while it unpacks, leaves it there and owns it not.

Going back removes what the old list of files names, so a library with its version in its name would stay for good.
"""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.tools import Tools

__all__ = ["Brought", "brought", "is_that", "remove_empty"]

_READ_S = 120.0
_LINK = " -> "


@dataclass(frozen=True)
class Brought:
    """Files by their path, with what makes sure that a file there is that one; and folders."""

    files: Dict[str, str]
    folders: Tuple[str, ...]


def brought(tools: Tools, packages: Iterable[Path]) -> Brought:
    """Return what these package files hold and the host has not."""
    files: Dict[str, str] = {}
    folders: List[str] = []
    if tools.rpm:
        return _by_rpm(tools, packages)
    for package in packages:
        sums = _sums(tools, package)
        said = tools.run(("dpkg-deb", "--contents", str(package)), _READ_S)
        if not said.well:
            raise Unanswered(f"What {package.name} holds cannot be read: {said.sentence()}.")
        for row in said.out.splitlines():
            kind, name, target = _entry(row)
            if os.path.lexists(tools.path(name)):
                continue
            if kind == "d":
                folders.append(name)
            else:
                files[name] = f"link {target}" if kind == "l" else f"md5 {sums.get(name, 'unknown')}"
    return Brought(files, tuple(sorted(folders)))


def is_that(tools: Tools, name: str, said: str) -> bool:
    """Tell whether what is at a path is what a package file brought there."""
    path = tools.path(name)
    if path.is_symlink():
        return said == f"link {path.readlink()}"
    if not path.is_file():
        return False
    if said.startswith("sha256 "):
        return said == f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return said == f"md5 {hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"


def remove_empty(tools: Tools, folders: Iterable[str]) -> None:
    """Remove the folders that were not there, where nothing is in them."""
    for name in sorted(folders, reverse=True):
        with contextlib.suppress(OSError):  # somebody has put something in it, or it is gone
            tools.path(name).rmdir()


def _by_rpm(tools: Tools, packages: Iterable[Path]) -> Brought:
    from chaosgpu.agent.packages.rpm import moving  # noqa: PLC0415 (most hosts are of the other kind)

    files, folders = moving.brought(tools, packages)
    new = {name: said for name, said in files.items() if not os.path.lexists(tools.path(name))}
    # rpm makes the folders of its files, and what no package owns it does not take away again.
    above = {str(parent) for name in new for parent in Path(name).parents}
    return Brought(new, tuple(sorted(name for name in {*folders, *above} if not os.path.lexists(tools.path(name)))))


def _entry(row: str) -> Tuple[str, str, str]:
    """Read one row: rights, owner, size, day, hour, then the path, which may have blanks, and a link's target."""
    words = row.split(None, 5)
    name, _, target = (words[5] if len(words) > 5 else "").partition(_LINK)  # noqa: PLR2004 (as said above)
    return row[:1], "/" + name.lstrip("./").rstrip("/"), target


def _sums(tools: Tools, package: Path) -> Dict[str, str]:
    said = tools.run(("dpkg-deb", "--info", str(package), "md5sums"), _READ_S)
    rows = (line.split(None, 1) for line in said.out.splitlines())
    return {"/" + row[1].lstrip("./"): row[0] for row in rows if len(row) == 2}  # noqa: PLR2004 (digest and path)
