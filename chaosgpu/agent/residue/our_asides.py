# SPDX-License-Identifier: Apache-2.0
"""Folders of ours with files of a service that a lease has set aside, and whose lease does not live."""

from chaosgpu.agent.faults.aside import PREFIX
from chaosgpu.agent.residue.file_system_tops import left_at_tops
from chaosgpu.agent.residue.finding import OURS, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {"aside.left": "a folder of ours with files of a service set aside, and its lease does not live"}
_UNDO = "chaosgpu recover, or the agent's verb undo with the lease"


@family("our asides", OURS, _KINDS)
def our_asides(scene: Scene, found: Found) -> None:
    """Look at the top of every mounted file system; no lab has such a lease, so each is ours."""
    for path, lease, known in () if scene.home.limited else left_at_tops(scene, found, PREFIX):
        if known is not None and not known.ended:
            by_hand = f"{_UNDO} {lease}"
        else:
            by_hand = f"see that no lease {lease} is at work and whose the files in {path} are; move them back, or away"
        found.add("aside.left", f"{path} has files aside", path, by_hand, lease=lease)
