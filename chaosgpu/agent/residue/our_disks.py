# SPDX-License-Identifier: Apache-2.0
"""Folders of ours that take room on a file system, and whose lease does not live."""

import os

from chaosgpu.agent.faults.fill_file import PREFIX
from chaosgpu.agent.residue.file_system_tops import left_at_tops
from chaosgpu.agent.residue.finding import OURS, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {"fill.left": "a folder of ours that fills a disk, and its lease does not live"}
_UNDO = "chaosgpu recover, or the agent's verb undo with the lease"


@family("our disks", OURS, _KINDS)
def our_disks(scene: Scene, found: Found) -> None:
    """Look at the top of every mounted file system; a lab at those beside its home alone.

    A lease of which this state root knows nothing may be a lab's that is at work, so that one is nobody's for certain.
    """
    beside = os.path.dirname(scene.home.path) + "/" if scene.home.limited else "/"  # noqa: PTH120 (pathlib costs 9 ms)
    for path, lease, known in left_at_tops(scene, found, PREFIX, beside):
        if known is not None and not known.ended:
            by_hand, owner = f"{_UNDO} {lease}", OURS
        else:
            by_hand, owner = f"see that no lease {lease} is at work; rm -r {path}", UNKNOWN if known is None else OURS
        found.add("fill.left", f"{path} takes room", path, by_hand, lease=lease, owner=owner)
