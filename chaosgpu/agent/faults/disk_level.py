# SPDX-License-Identifier: Apache-2.0
"""Up to which level a file system is to be filled, as the one who works in a folder of it sees it."""

import os
from dataclasses import dataclass
from typing import Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.faults.file_system import MIB, Space, space_of
from chaosgpu.agent.values import JsonMapping

__all__ = ["DiskParams", "parse_level"]

_KEYS = frozenset({
    "folder", "used_percent", "leave_free_mib", "tolerance_mib", "take_reserved", "allow_root", "allow_memory",
})  # fmt: skip
_TOLERANCE_MIB = 8
_OWN_RESERVE = 16 * MIB  # of this, or a fiftieth, ext4 gives nobody anything


@dataclass(frozen=True)
class DiskParams:
    """The folder, one of the two levels, and what is permitted by name."""

    folder: str
    used_percent: Optional[float]
    leave_free_mib: Optional[int]
    tolerance_mib: int
    take_reserved: bool
    allow_root: bool
    allow_memory: bool

    def goal_free(self, now: Space) -> int:
        """Return how many bytes shall be free at the level."""
        if self.leave_free_mib is not None:
            return self.leave_free_mib * MIB
        reachable = now.total - now.free_for_root + now.free(root=self.take_reserved)
        return max(0, int(reachable * (1 - (self.used_percent or 0.0) / 100)))

    def tolerance(self, now: Space) -> int:
        """Return how much more than the level may be free."""
        kept = min(now.total // 50, _OWN_RESERVE) + MIB if self.take_reserved else 0
        return max(self.tolerance_mib * MIB, kept)

    def missing(self) -> int:
        """Return how many bytes have to be taken to the level now."""
        now = space_of(self.folder)
        return now.free(root=self.take_reserved) - self.goal_free(now)


def parse_level(raw: JsonMapping, fault: str) -> DiskParams:
    """Read the values alone."""
    values.only(raw, fault, _KEYS)
    folder = values.text(raw, "folder")
    if not os.path.isabs(folder) or os.path.normpath(folder) != folder or folder.startswith("//"):  # noqa: PTH117 (pathlib costs 9 ms)
        raise BadRequest(f"folder must be an absolute path without '..', '//' and a last '/', not {folder!r}.")
    if not folder.isprintable():
        raise BadRequest(f"folder must be a path that can be printed, not {folder!r}.")
    if (raw.get("used_percent") is None) == (raw.get("leave_free_mib") is None):
        raise BadRequest("Give either used_percent or leave_free_mib, one of the two.")
    percent = None if raw.get("used_percent") is None else values.number(raw, "used_percent", 1.0, 100.0)
    return DiskParams(
        folder,
        percent,
        values.whole(raw, "leave_free_mib", 0, 1 << 30) if percent is None else None,
        values.whole({"tolerance_mib": _TOLERANCE_MIB, **raw}, "tolerance_mib", 1, 1 << 20),
        *(values.flag(raw, key, default=False) for key in ("take_reserved", "allow_root", "allow_memory")),
    )
