# SPDX-License-Identifier: Apache-2.0
"""A probe fails by its own tolerance, at once or for some time; the canary is the probe that matters most."""

from typing import override

from chaosgpu.fleet.values import JsonObject, optional_text
from chaosgpu.stops.contract import Leaf, Reading
from chaosgpu.stops.lasting import Lasting
from chaosgpu.stops.probe import Probe, find_canary, find_probe
from chaosgpu.stops.scene import Scene

__all__ = ["CanaryWrong", "ProbeFails"]


class _Wrong(Leaf):
    def __init__(self, probe: Probe, for_s: float, scene: Scene) -> None:
        self._probe = probe
        self._lasting = Lasting(scene, for_s)
        self._scene = scene
        self.within_s = probe.within_s

    @override
    def __call__(self) -> Reading:
        began_s = self._scene.now()
        return self._lasting.seen(self._probe.play().failed, began_s)


class ProbeFails(_Wrong):
    """Any probe of the experiment."""

    name = "probe_fails"

    def __init__(self, params: JsonObject, scene: Scene) -> None:
        super().__init__(find_probe(scene, str(params["probe"])), float(str(params["seconds"])), scene)


class CanaryWrong(_Wrong):
    """The experiment's canary: a wrong, late or missing answer."""

    name = "canary_wrong_for"

    def __init__(self, params: JsonObject, scene: Scene) -> None:
        super().__init__(find_canary(scene, optional_text(params, "probe")), float(str(params["seconds"])), scene)
