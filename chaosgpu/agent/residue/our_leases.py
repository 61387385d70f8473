# SPDX-License-Identifier: Apache-2.0
"""Leases of ours that nobody ends any more, and what a killed agent left half-made in their folders."""

from chaosgpu.agent.residue.finding import OURS, Found, family
from chaosgpu.agent.residue.leases import Known
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "lease.stuck": "a lease whose undo failed, or whose record is damaged",
    "lease.expired": "a lease whose deadline is past, and nobody has ended it",
    "lease.earlier_start": "a lease of an earlier start of the host that was not ended",
    "lease.abandoned": "a lease whose apply died before it was active, and nobody ends it",
    "lease.unkept": "an active lease without its keeper",
    "lease.half_made": "a lease's folder without a record, and nobody is making one",
    "lease.half_written": "a half-written file in the folder of a lease that has ended",
}
_NEW_S = 10.0  # a folder that was made just now is being filled


@family("our leases", OURS, _KINDS)
def our_leases(scene: Scene, found: Found) -> None:
    """Read every record of this state root."""
    for known in scene.leases.all():
        _look_at(known, scene, found)


def _look_at(known: Known, scene: Scene, found: Found) -> None:
    state, path = known.state, known.folder.path
    undo = f"chaosgpu recover, or the agent's verb undo with the lease {known.lease}"
    if state is None:
        made = scene.status(path)
        if not known.applied and made is not None and scene.clock.wall_s() - made.st_mtime > _NEW_S:
            found.add("lease.half_made", "the folder has no record", path, f"rm -r {path}", lease=known.lease)
        return
    if known.ended:
        _litter(known, scene, found)
        return
    fault = f"{state.fault or 'a fault'} of run {state.run or 'unknown'}"
    if state.state == "stuck":
        what = f"{fault} was not put back: {state.reason or 'the record does not say why'}"
        found.add("lease.stuck", what, path, f"mend the cause, then {undo}", lease=known.lease)
    elif state.boot != scene.boot:
        found.add(
            "lease.earlier_start", f"{fault} is {state.state} since an earlier start", path, undo, lease=known.lease
        )
    elif state.state in ("reserved", "armed") and not known.live:
        found.add("lease.abandoned", f"{fault} is {state.state}, its apply has died", path, undo, lease=known.lease)
    elif not known.live:
        found.add("lease.expired", f"{fault} is {state.state} after its deadline", path, undo, lease=known.lease)
    elif state.state == "active" and not known.kept:
        sweep = "the agent's verb sweep starts a new one"
        found.add("lease.unkept", f"{fault} is active and its keeper has died", path, sweep, lease=known.lease)


def _litter(known: Known, scene: Scene, found: Found) -> None:
    for name in scene.names(known.folder.path):
        if name.endswith(".new"):
            where = f"{known.folder.path}/{name}"
            found.add("lease.half_written", "a write was cut off", where, f"rm {where}", lease=known.lease)
