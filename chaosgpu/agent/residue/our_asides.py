# SPDX-License-Identifier: Apache-2.0
"""Folders of ours with files of a service that a lease has set aside, and whose lease does not live."""

from chaosgpu.agent.faults.aside import PREFIX
from chaosgpu.agent.residue.disks import mounts
from chaosgpu.agent.residue.finding import OURS, Found, Unlooked, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {"aside.left": "a folder of ours with files of a service set aside, and its lease does not live"}
_UNDO = "chaosgpu recover, or the agent's verb undo with the lease"


@family("our asides", OURS, _KINDS)
def our_asides(scene: Scene, found: Found) -> None:
    """Look at the top of every mounted file system; no lab has such a lease, so each is ours."""
    for point in sorted({point for point, _ in mounts(scene)}) if not scene.home.limited else ():
        try:
            names = scene.names(point) if scene.status(point) is not None else ()
        except Unlooked as error:
            found.could_not(str(error))
            continue
        for name in names:
            if name.startswith(PREFIX):
                _judge(f"{point.rstrip('/')}/{name}", name[len(PREFIX) :], scene, found)


def _judge(path: str, lease: str, scene: Scene, found: Found) -> None:
    known = scene.leases.of(scene.home.folder(lease)) if lease in scene.home.lease_ids() else None
    if known is not None and known.live:
        return
    if known is not None and not known.ended:
        by_hand = f"{_UNDO} {lease}"
    else:
        by_hand = f"see that no lease {lease} is at work and whose the files in {path} are; move them back, or away"
    found.add("aside.left", f"{path} has files aside", path, by_hand, lease=lease)
