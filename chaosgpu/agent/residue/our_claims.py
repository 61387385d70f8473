# SPDX-License-Identifier: Apache-2.0
"""Claims whose lease has ended, is gone, or cannot be read: they keep a resource from everybody for ever."""

import json
from typing import Optional, Tuple

from chaosgpu.agent.residue.finding import OURS, Found, Unlooked, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "claim.ended": "a claim of a lease that has ended",
    "claim.without_lease": "a claim of a lease that has no record",
    "claim.unreadable": "a claim that names no lease: it is held for ever",
    "claim.half_written": "a claim whose writer was killed",
}
_BEGIN, _NEW = "chaosgpu-claim-", ".new"


@family("our claims", OURS, _KINDS)
def our_claims(scene: Scene, found: Found) -> None:
    """Compare each claim with the record of the lease that it names; a lab looks at its own alone."""
    for name in scene.names(scene.claims_directory):
        if not name.startswith(_BEGIN):
            continue
        path = f"{scene.claims_directory}/{name}"
        content = _content(path, scene)
        if content is None:
            continue  # it was given up meanwhile
        home, lease, claim = content
        if home != scene.home.path and (scene.home.limited or (not lease and not _is_ours(path, scene))):
            continue
        if name.endswith(_NEW):
            found.add("claim.half_written", "its writer was killed", path, f"rm {path}", lease=lease or None)
        elif not lease:
            found.add("claim.unreadable", "it names no lease", path, f"rm {path}, when no lease holds it")
        else:
            _compare(path, claim, f"{home}/leases/{lease}", scene, found)


def _compare(path: str, claim: str, folder: str, scene: Scene, found: Found) -> None:
    known = scene.leases.of(folder)
    if known.state is None and not known.applied:
        found.add("claim.without_lease", f"{claim}: {folder} has no record", path, f"rm {path}", lease=known.lease)
    elif known.ended:
        found.add("claim.ended", f"{claim}: its lease has ended", path, f"rm {path}", lease=known.lease)


def _content(path: str, scene: Scene) -> Optional[Tuple[str, str, str]]:
    """Return the claim's state root, lease and resource; empty texts where it cannot be understood."""
    try:
        raw = scene.text(path)
    except Unlooked:
        return "", "", ""
    if raw is None:
        return None
    try:
        content = json.loads(raw)
        return str(content["home"]), str(content["lease"]), str(content["claim"])
    except (ValueError, KeyError, TypeError):
        return "", "", ""


def _is_ours(path: str, scene: Scene) -> bool:
    """Tell whether an unreadable claim is this user's to judge: root's are all."""
    status = scene.status(path)
    return scene.user_id == 0 or (status is not None and status.st_uid == scene.user_id)
