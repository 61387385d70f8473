# SPDX-License-Identifier: Apache-2.0
"""Keepers, reverters, holders and whatever else carries our owner tag, whose lease does not live."""

from typing import Optional, Tuple

from chaosgpu.agent.holding import TAG
from chaosgpu.agent.residue.finding import OURS, Found, family
from chaosgpu.agent.residue.processes import Process
from chaosgpu.agent.residue.scene import LAB, Scene

_KINDS = {
    "process.keeper": "a keeper without a live lease",
    "process.reverter": "a reverter without a live lease",
    "process.holder": "a holder of memory or load without a live lease",
    "process.tagged": "another process that carries the tag of a lease which does not live",
    "process.shim": "a process with a library of ours preloaded, and no live lease has its tag",
}
_ROLES = {"keep": "process.keeper", "due": "process.reverter", "hold": "process.holder"}


@family("our processes", OURS, _KINDS)
def our_processes(scene: Scene, found: Found) -> None:
    """Ask for each process of ours whether its lease lives, by the record that it names itself."""
    here = scene.points_to("/proc/self/ns/pid")
    for process in scene.processes:
        if process.variable(LAB) != (scene.home.path if scene.home.limited else ""):
            continue
        kind, path = _what(process)
        if kind is None or scene.points_to(f"/proc/{process.pid}/ns/pid") != here:
            continue  # one in a container has its records in there
        by_hand = f"kill {process.pid}, then `kill -9` if it stays"
        if kind == "process.shim":
            what = f"{process.shown} has {process.variable('LD_PRELOAD')} preloaded"
            unit = process.group.rpartition("/")[2]
            if not scene.leases.hold("unit", unit) and process.pid not in scene.leases.pids():
                found.add(kind, what, f"pid {process.pid}", f"restart it: {process.shown}")
            continue
        if scene.user_id != 0 and not path.startswith(scene.home.leases):
            continue  # another user's, whose records are not ours to read
        known = scene.leases.of(path)
        # A reverter of a lease that is over is at its work; of one that has ended it goes by itself.
        at_work = kind == "process.reverter" and known.state is not None and not known.ended
        if not known.live and not at_work:
            found.add(
                kind, f"{process.shown}: its lease does not live", f"pid {process.pid}", by_hand, lease=known.lease
            )


def _what(process: Process) -> Tuple[Optional[str], str]:
    """Return the kind that it is if its lease does not live, and the lease's folder."""
    words = process.words
    if len(words) > 2 and words[-2] in _ROLES and "/leases/" in words[-1]:  # noqa: PLR2004 (a program and two words)
        return _ROLES[words[-2]], words[-1]
    if "/leases/" in process.variable(TAG):
        return "process.tagged", process.variable(TAG)
    if "chaosgpu" in process.variable("LD_PRELOAD"):
        return "process.shim", ""
    return None, ""
