# SPDX-License-Identifier: Apache-2.0
"""Folders of ours at the top of a mounted file system whose lease does not live."""

from typing import Iterator, Optional, Tuple

from chaosgpu.agent.residue.disks import mounts
from chaosgpu.agent.residue.finding import Found, Unlooked
from chaosgpu.agent.residue.leases import Known
from chaosgpu.agent.residue.scene import Scene

__all__ = ["left_at_tops"]


def left_at_tops(
    scene: Scene, found: Found, prefix: str, under: str = "/"
) -> Iterator[Tuple[str, str, Optional[Known]]]:
    """Yield each folder's path, its lease, and what this host knows of that lease: nothing, or that it does not live.

    Looked at are the file systems that are mounted under a folder.
    """
    for point in sorted({point for point, _ in mounts(scene) if f"{point}/".startswith(under)}):
        try:
            names = scene.names(point) if scene.status(point) is not None else ()
        except Unlooked as error:
            found.could_not(str(error))
            continue
        for name in [name for name in names if name.startswith(prefix)]:
            lease = name[len(prefix) :]
            known = scene.leases.of(scene.home.folder(lease)) if lease in scene.home.lease_ids() else None
            if known is None or not known.live:
                yield f"{point.rstrip('/')}/{name}", lease, known
