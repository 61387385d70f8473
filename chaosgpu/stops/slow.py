# SPDX-License-Identifier: Apache-2.0
"""A probe takes longer than this, for some time; one that fails altogether is slow, too."""

from typing import override

from chaosgpu.fleet.values import JsonObject, optional_text
from chaosgpu.stops.contract import Leaf, Reading
from chaosgpu.stops.lasting import Lasting
from chaosgpu.stops.probe import find_canary
from chaosgpu.stops.scene import Scene

__all__ = ["CanarySlow"]


class CanarySlow(Leaf):
    """The experiment's canary, or the probe that is named."""

    name = "canary_slow_for"

    def __init__(self, params: JsonObject, scene: Scene) -> None:
        self._probe = find_canary(scene, optional_text(params, "probe"))
        self._above_s = float(str(params["above_s"]))
        self._lasting = Lasting(scene, float(str(params["seconds"])))
        self._scene = scene
        self.within_s = self._probe.within_s

    @override
    def __call__(self) -> Reading:
        began_s = self._scene.now()
        seen = self._probe.play()
        slow = seen.took_s > self._above_s or seen.failed.met is True
        text = f"{self._probe.name!r} took {seen.took_s:.2f} s, and the limit is {self._above_s:g}"
        return self._lasting.seen(Reading(slow, text), began_s)
