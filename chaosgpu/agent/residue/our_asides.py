# SPDX-License-Identifier: Apache-2.0
"""Files that a lease of ours has set aside and that are aside still, though the lease does not live."""

import os
import re
from typing import Iterator, List, Set, Tuple

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.faults.aside import COPY, PREFIX
from chaosgpu.agent.faults.set_aside import asides_in
from chaosgpu.agent.residue.finding import OURS, Found, family
from chaosgpu.agent.residue.leases import Known
from chaosgpu.agent.residue.scene import Scene

_KINDS = {"aside.left": "a file of a service that a lease has set aside, and the lease does not live"}
_UNDO = "chaosgpu recover, or the agent's verb undo with the lease"
_NAME = re.compile(re.escape(PREFIX) + r"(.+)-\d+(?:" + re.escape(COPY) + ")?")
# Where services have their data; what containers have there belongs to their images.
_WHERE = ("/var/lib", "/srv", "/data", "/opt")
_NOT_THERE = frozenset({"containerd", "containers", "chaosgpu", "docker", "dpkg", "kubelet", "lxc", "machines"})
_DEPTH = 7  # /var/lib/postgresql/16/main/base/16384
_MOST_FOLDERS = 30_000


@family("our asides", OURS, _KINDS)
def our_asides(scene: Scene, found: Found) -> None:
    """Look in the folders that our leases name and in those where services have their data; no lab has such leases."""
    if scene.home.limited:
        return
    seen: Set[str] = set()
    for folder in _folders(scene, found):
        if folder in seen:
            continue
        seen.add(folder)
        for name in scene.names(folder):
            match = _NAME.fullmatch(name)
            if match is not None:
                _judge(f"{folder}/{name}", match.group(1), scene, found)


def _folders(scene: Scene, found: Found) -> Iterator[str]:
    for known in scene.leases.all():
        yield from _named(known)
    waiting: List[Tuple[str, int]] = [(folder, 0) for folder in _WHERE if scene.status(folder) is not None]
    count = 0
    while waiting:
        folder, depth = waiting.pop()
        count += 1
        if count > _MOST_FOLDERS:
            found.could_not(f"only {_MOST_FOLDERS} folders below {', '.join(_WHERE)} were looked at for files aside")
            return
        yield folder
        if depth < _DEPTH:
            waiting += [(f"{folder}/{name}", depth + 1) for name in _below(scene.root + folder)]


def _named(known: Known) -> List[str]:
    try:
        undo = known.folder.undo_record()
        named = undo is not None and undo.fault.startswith("unit.files.")
        return [one.folder for one in asides_in(undo.prior)] if undo is not None and named else []
    except AgentError:
        return []  # its own family tells that it is damaged


def _below(path: str) -> List[str]:
    try:
        with os.scandir(path) as entries:
            return [one.name for one in entries if one.is_dir(follow_symlinks=False) and one.name not in _NOT_THERE]
    except OSError:
        return []  # it went meanwhile; what may not be listed is told by the one who lists its names


def _judge(path: str, lease: str, scene: Scene, found: Found) -> None:
    known = scene.leases.of(scene.home.folder(lease)) if lease in scene.home.lease_ids() else None
    if known is not None and known.live:
        return
    if known is not None and not known.ended:
        by_hand = f"{_UNDO} {lease}"
    else:
        by_hand = (
            f"see that no lease {lease} is at work and which file beside {path} is the service's; stop it, mv or rm"
        )
    found.add("aside.left", f"{path} is aside", path, by_hand, lease=lease)
