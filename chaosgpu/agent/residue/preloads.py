# SPDX-License-Identifier: Apache-2.0
"""Libraries that lie: preloaded for the whole system, or into one process."""

from typing import List

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "preload.system": "/etc/ld.so.preload names a library for every program",
    "preload.faketime": "a process with libfaketime: it lives in another time",
    "preload.fiu": "a process with libfiu: its calls fail",
    "preload.eatmydata": "a process with libeatmydata: its writes are not synced",
    "preload.cuda": "a process with a library in front of CUDA or NVML",
}
_FILE = "/etc/ld.so.preload"
_MOST_NAMED = 5
_LIARS = (("preload.faketime", "faketime"), ("preload.fiu", "fiu_"), ("preload.eatmydata", "eatmydata"))
_CUDA = ("libcuda", "cuda_inject", "nvml", "gpu_fault", "cuda_shim")


@family("preloads", FOREIGN, _KINDS)
def preloads(scene: Scene, found: Found) -> None:
    """Read the file, and the variables of every process that we may see."""
    for line in (scene.text(_FILE) or "").splitlines():
        name = line.partition("#")[0].strip()
        if name:
            by_hand = f"see who needs {name}; take the line out of {_FILE}"
            found.add("preload.system", f"{name} is preloaded everywhere", f"{_FILE}: {name}", by_hand, owner=UNKNOWN)
    hidden: List[str] = []
    for process in scene.others:
        if process.environment is None:
            hidden.append(f"{process.pid} ({process.short_name})")
        libraries = process.variable("LD_PRELOAD")
        where, by_hand = f"pid {process.pid}", f"restart {process.shown} without LD_PRELOAD"
        for kind, part in _LIARS:
            if part in libraries:
                found.add(kind, f"{process.shown} has {libraries}", where, by_hand)
        if any(part in libraries for part in _CUDA):
            found.add("preload.cuda", f"{process.shown} has {libraries}", where, by_hand, owner=UNKNOWN)
    if hidden:
        advice = "" if scene.user_id == 0 else ": run the agent as root"
        named = ", ".join(hidden[:_MOST_NAMED])
        more = f" and {len(hidden) - _MOST_NAMED} more" if len(hidden) > _MOST_NAMED else ""
        which = f"process {named}" if len(hidden) == 1 else f"{len(hidden)} processes, {named}{more},"
        found.could_not(f"the variables of {which} cannot be read{advice}")
