# SPDX-License-Identifier: Apache-2.0
"""Units as systemd shows them, for the families that need more than files."""

from typing import Dict, List

from chaosgpu.agent.residue.finding import Unlooked
from chaosgpu.agent.residue.scene import Scene

__all__ = ["shown", "stopped_though_enabled", "unit_names"]

_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,ConditionResult,ConditionTimestampMonotonic"


def unit_names(scene: Scene, pattern: str) -> List[str]:
    """Return the loaded units whose names match."""
    said = scene.said("systemctl", "--no-pager", "list-units", "--all", "--plain", "--no-legend", "--full", pattern)
    # A failed unit has a mark before its name in some versions.
    return [row.split()[0] for row in (line.lstrip("●* ") for line in said.splitlines()) if row.split()]


def shown(scene: Scene, *units: str) -> Dict[str, Dict[str, str]]:
    """Return the properties of these units, by the name that was asked for."""
    if not units:
        return {}
    said = scene.said("systemctl", "--no-pager", "show", f"--property={_PROPERTIES}", *units)
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in said.strip().split("\n\n")]
    if len(blocks) != len(units):
        raise Unlooked(f"systemctl showed {len(blocks)} units where {len(units)} were asked for")
    return dict(zip(units, blocks))


def stopped_though_enabled(properties: Dict[str, str]) -> bool:
    """Tell whether it is enabled and does not run, though systemd found no condition of its own against it."""
    tried = properties.get("ConditionTimestampMonotonic", "0") != "0"
    kept_from = tried and properties.get("ConditionResult") == "no"
    stopped = properties.get("ActiveState") in ("inactive", "failed")
    return properties.get("UnitFileState") == "enabled" and stopped and not kept_from
