# SPDX-License-Identifier: Apache-2.0
"""The run has taken longer than this."""

from typing import override

from chaosgpu.fleet.values import JsonObject
from chaosgpu.stops.contract import Leaf, Reading
from chaosgpu.stops.scene import Scene

__all__ = ["Elapsed"]


class Elapsed(Leaf):
    """Counts from the moment at which the guard let the run begin."""

    name = "elapsed"

    def __init__(self, params: JsonObject, scene: Scene) -> None:
        self._seconds = float(str(params["seconds"]))
        self._scene = scene

    @override
    def __call__(self) -> Reading:
        passed_s = self._scene.now() - self._scene.started_s
        return Reading(passed_s >= self._seconds, f"{passed_s:.1f} s have passed, and {self._seconds:g} were given")
