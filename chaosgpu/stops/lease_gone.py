# SPDX-License-Identifier: Apache-2.0
"""A fault that should be in force is not, or its lease is in no state that we know.

The guard stops for this by itself; here it can be joined with others, such as `lease_gone() & elapsed(60)`.
"""

from typing import override

from chaosgpu.fleet.values import JsonObject
from chaosgpu.stops.contract import Leaf, Reading
from chaosgpu.stops.scene import Scene

__all__ = ["LeaseGone"]


class LeaseGone(Leaf):
    """Reads what the guard keeps of the leases; it asks the host every 3 s."""

    name = "lease_gone"

    def __init__(self, params: JsonObject, scene: Scene) -> None:
        del params
        self._scene = scene

    @override
    def __call__(self) -> Reading:
        for lease in self._scene.leases():
            if lease.ended_early or lease.state in ("stuck", "unknown"):
                return Reading(met=True, text=f"{lease.fault} on {lease.host}: {lease.ended_early or lease.state}")
        return Reading(met=False, text="every fault is in force or was undone")
