# SPDX-License-Identifier: Apache-2.0
"""Processes that somebody stopped and did not continue, and groups that somebody froze."""

from typing import Tuple

from chaosgpu.agent.residue.finding import FOREIGN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "process.stopped": "a stopped process (SIGSTOP) without a terminal",
    "cgroup.frozen": "a frozen control group (cgroup v2)",
    "cgroup.frozen_v1": "a frozen control group (freezer of cgroup v1)",
}
_Tree = Tuple[str, str, str, str]  # where, which file, what it says of a frozen group, the kind
_V2: _Tree = ("/sys/fs/cgroup", "cgroup.freeze", "1", "cgroup.frozen")
_V1: _Tree = ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "cgroup.frozen_v1")
_MOST_GROUPS = 5000


@family("stopped", FOREIGN, _KINDS)
def stopped(scene: Scene, found: Found) -> None:
    """Look for both; what somebody stopped in a terminal is that person's, what a live lease stopped is the lease's."""
    ours = scene.leases.pids()
    for process in scene.others:
        if process.state == "T" and process.terminal == 0 and process.pid not in ours:
            where = f"pid {process.pid}"
            found.add("process.stopped", f"{process.shown} is stopped", where, f"kill -CONT {process.pid}")
    for tree in (_V2, _V1):
        _groups(tree, scene, found)


def _groups(tree: _Tree, scene: Scene, found: Found) -> None:
    top, file, frozen, kind = tree
    waiting, seen = [top], 0
    while waiting:
        folder = waiting.pop()
        seen += 1
        if seen > _MOST_GROUPS:
            found.could_not(f"only the first {_MOST_GROUPS} control groups below {top} were looked at")
            return
        said = scene.text(f"{folder}/{file}")
        if said is not None and said.strip() == frozen:
            unit = folder.rpartition("/")[2]
            if not scene.leases.hold("unit", unit):
                thaw = f"systemctl thaw {unit}" if "." in unit else f"echo 0 > {folder}/{file}"
                found.add(kind, f"{unit} is frozen: nothing in it runs", folder, thaw)
        # A group's own files are no folders; a folder of a control group has its list of processes.
        for name in scene.names(folder):
            if "." not in name or name.endswith((".slice", ".service", ".scope", ".mount", ".socket")):
                inner = f"{folder}/{name}"
                if scene.status(f"{inner}/cgroup.procs") is not None:
                    waiting.append(inner)
