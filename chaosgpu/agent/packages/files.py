# SPDX-License-Identifier: Apache-2.0
"""Files by their digest: those that packages own, and those in /etc that decide what a driver does."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.status import Package
from chaosgpu.agent.packages.tools import Tools

__all__ = [
    "LEAVINGS", "MANAGED", "absent", "changed_by_somebody", "conffiles", "content_digest", "digest", "managed", "owned",
]  # fmt: skip

# What decides which driver is installed, loaded and found. Each file is kept whole in a snapshot.
MANAGED = (
    "etc/apt/preferences", "etc/apt/preferences.d/*", "etc/modprobe.d/*", "etc/modules-load.d/*",
    "etc/ld.so.conf.d/*", "etc/default/grub", "etc/default/grub.d/*", "etc/docker/daemon.json", "etc/cdi/*",
    "etc/nvidia/*", "etc/nvidia-container-runtime/*", "etc/udev/rules.d/*nvidia*", "etc/alternatives/*nvidia*",
    "etc/alternatives/*glx*", "etc/alternatives/*cuda*", "etc/dnf/plugins/versionlock.list", "etc/dnf/modules.d/*",
)  # fmt: skip
# What dpkg and rpm leave beside a configuration file that somebody has edited.
LEAVINGS = (".dpkg-dist", ".dpkg-new", ".dpkg-old", ".dpkg-tmp", ".rpmnew", ".rpmorig", ".rpmsave")
absent = "absent"
_BLOCK = 1 << 20
_VERIFY_S = 120.0


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            found.update(block)
    return found.hexdigest()


def digest(path: Path) -> str:
    """Return what a path is: its kind, rights, owner and content; `absent` where nothing is there."""
    try:
        about = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return absent
    rights = f"{stat.S_IMODE(about.st_mode):o} {about.st_uid}:{about.st_gid}"
    if stat.S_ISLNK(about.st_mode):
        return f"link {path.readlink()}"
    if stat.S_ISREG(about.st_mode):
        return f"file {rights} {content_digest(path)}"
    return f"folder {rights}" if stat.S_ISDIR(about.st_mode) else f"other {rights}"


def owned(tools: Tools, package: Package) -> List[str]:
    """Return the paths that a package owns, as dpkg or rpm keeps them."""
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import status  # noqa: PLC0415 (most hosts are of the other kind)

        return status.owned(tools, package)
    for name in (f"{package.name}:{package.architecture}", package.name):
        path = tools.admin / "info" / f"{name}.list"
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            return [line for line in lines if line not in ("", "/.")]
    return []


def conffiles(tools: Tools, package: Package) -> Tuple[Tuple[str, str], ...]:
    """Return a package's configuration files with the digest that dpkg or rpm has of each."""
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import status  # noqa: PLC0415 (most hosts are of the other kind)

        return status.conffiles(tools, package)
    return package.conffiles


def managed(tools: Tools, extra: Iterable[str] = ()) -> Dict[str, str]:
    """Return each managed file that is there with its digest, and each of `extra` whether or not it is there.

    What dpkg has left beside one of `extra` counts, too.
    """
    root = Path(tools.root)
    found = {f"/{path.relative_to(root)}" for pattern in MANAGED for path in root.glob(pattern)}
    kept = sorted(name for name in found if not tools.path(name).is_dir() or tools.path(name).is_symlink())
    listed = {name for one in extra for name in (one, *(f"{one}{end}" for end in LEAVINGS))}
    seen = {name: digest(tools.path(name)) for name in sorted({*kept, *listed})}
    return {name: said for name, said in seen.items() if said != absent or not name.endswith(LEAVINGS)}


def changed_by_somebody(tools: Tools, names: Sequence[str]) -> List[str]:
    """Return the files, but no configuration, that are not as their package has them: no package file brings them back.

    dpkg itself is asked, since it knows of diversions.
    """
    if not names:
        return []
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import status  # noqa: PLC0415 (most hosts are of the other kind)

        return status.edited(tools, names)
    said = tools.run(tools.dpkg("--verify", *names), _VERIFY_S)
    if said.status > 1:  # 1 is a difference, from dpkg 1.22 on
        raise Unanswered(f"Nobody knows whether the files are as their packages have them: {said.sentence()}.")
    rows = (line.split() for line in said.out.splitlines())
    return [row[-1] for row in rows if row and "c" not in row[1:-1] and (row[0] == "missing" or "5" in row[0])]
