# SPDX-License-Identifier: Apache-2.0
"""A host with a small file system of its own beside its home, to be filled: made as root, on a loop device."""

import json
import os
from pathlib import Path
from typing import Any

from chaosgpu.selfdrill import entry
from chaosgpu.selfdrill.host import START_UP, Times, World
from support import small_disk

FAULT = "disk.fill"
_POLICY = {"version": 1, "permit": ["disk.*"], "max_duration_s": 120}
# Two more syncs to disk than other faults: on a busy machine a second would be over before it is active.
_TIMES = Times(apply_s=3.0, outlasts_s=8.0)
_NEAR = 1 << 18  # bytes: a folder that was made and removed may leave a block or two with the journal


class DiskWorld(World):
    """Its file system is unmounted at its end."""

    def end(self) -> None:
        """End whatever is left, and take the file system away."""
        super().end()
        small_disk.unmount(self.folder / "disk")


def build(folder: Path) -> World:
    """Make the file system, a home with a policy beside it, and a look at both its names and its room."""
    home, disk, image = folder / "home", folder / "disk", folder / "disk.img"
    home.mkdir()
    (home / "policy.json").write_text(json.dumps(_POLICY), encoding="utf-8")
    small_disk.make(image, "ext4", 32)
    small_disk.mount(image, disk)
    (disk / "data").mkdir()
    environment = {**os.environ, "CHAOSGPU_AGENT_HOME": str(home), entry.WORLD: "gpu", **START_UP}
    free = _free(disk)

    def look() -> Any:
        names = sorted(str(path.relative_to(disk)) for path in disk.rglob("*"))
        return names, abs(_free(disk) - free) < _NEAR

    return DiskWorld(folder, FAULT, {"folder": str(disk / "data"), "leave_free_mib": 0}, environment, look, (), _TIMES)


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bfree * found.f_frsize
