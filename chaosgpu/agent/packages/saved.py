# SPDX-License-Identifier: Apache-2.0
"""Files of /etc, kept with content, rights, owner and label, and put back whole under their own name."""

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import Dict, Mapping

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused, StoreFailed
from chaosgpu.agent.packages.files import absent, content_digest
from chaosgpu.agent.packages.stage import sync_file
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.store import sync_folder
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["keep", "put_back"]

_LARGEST_BYTES = 4 << 20
_NEW = ".chaosgpu-new"
_OF_THE_INODE = ("security.evm",)


def keep(tools: Tools, folder: Path, digests: Mapping[str, str]) -> JsonObject:
    """Keep what is at each path that has a digest; return how to put it back."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept: Dict[str, JsonObject] = {}
    for name, known in digests.items():
        path = tools.path(name)
        if known == absent:
            continue
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode):
            kept[name] = {"link": str(path.readlink())}
        elif stat.S_ISREG(about.st_mode):
            if about.st_size > _LARGEST_BYTES:
                raise Refused(f"{name} has {about.st_size} bytes, too many for a configuration; nothing was changed.")
            sha256 = content_digest(path)
            shutil.copyfile(path, folder / sha256)
            sync_file(folder / sha256)
            mode = stat.S_IMODE(about.st_mode)
            owner = {"user": about.st_uid, "group": about.st_gid}
            # rpm tells a file with another time from its own.
            about_it: JsonObject = {"attributes": _attributes(path), "changed_ns": about.st_mtime_ns}
            kept[name] = {"sha256": sha256, "mode": mode, **owner, **about_it}
    sync_folder(str(folder))
    return {**kept}


def put_back(tools: Tools, folder: Path, name: str, kept: JsonMapping) -> None:
    """Put a file back as it was kept, or take it away where nothing was kept: whole or not at all."""
    path = tools.path(name)
    new = path.with_name(path.name + _NEW)
    how = values.mapping(kept, name)
    try:
        if not how:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            if "link" in how:
                new.symlink_to(values.text(how, "link"))
            else:
                _write(folder / values.text(how, "sha256"), new, how)
            new.replace(path)
        sync_folder(str(path.parent))
    except OSError as error:
        raise StoreFailed(f"{name} cannot be put back: {error.strerror}.") from error


def _write(source: Path, new: Path, how: JsonMapping) -> None:
    if content_digest(source) != source.name:
        raise StoreFailed(f"{source} is not what was kept there: it is not put back.")
    shutil.copyfile(source, new)
    os.chown(new, values.whole(how, "user", 0, 1 << 32), values.whole(how, "group", 0, 1 << 32))
    new.chmod(values.whole(how, "mode", 0, 0o7777))
    attributes = values.mapping(how, "attributes")
    for name in attributes:
        with contextlib.suppress(OSError):  # another file system, or a label that the policy no longer knows
            os.setxattr(new, name, bytes.fromhex(values.text(attributes, name)))
    if "changed_ns" in how:
        changed_ns = values.whole(how, "changed_ns", 0, 1 << 63)
        os.utime(new, ns=(changed_ns, changed_ns))
    sync_file(new)


def _attributes(path: Path) -> JsonObject:
    """Return a file's extended attributes: SELinux's label, capabilities, access lists; empty where there are none.

    Not those that are of the inode and not of the content: they are wrong on any other one.
    """
    try:
        names = [name for name in os.listxattr(path, follow_symlinks=False) if name not in _OF_THE_INODE]
        found = {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names}
    except OSError:
        return {}
    return {name: value for name, value in found.items() if value}
