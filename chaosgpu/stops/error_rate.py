# SPDX-License-Identifier: Apache-2.0
"""Of the last looks at a probe more than a share failed."""

from collections import deque
from typing import override

from chaosgpu.fleet.values import JsonObject
from chaosgpu.stops.contract import Leaf, Reading
from chaosgpu.stops.probe import find_probe
from chaosgpu.stops.scene import Scene

__all__ = ["ErrorRate"]


class ErrorRate(Leaf):
    """Judges once it has looked as often as is asked for: one failure of one look is no rate."""

    name = "error_rate_above"

    def __init__(self, params: JsonObject, scene: Scene) -> None:
        self._probe = find_probe(scene, str(params["probe"]))
        self._percent = float(str(params["percent"]))
        self._looks = int(str(params["looks"]))
        self._failed: deque[bool] = deque(maxlen=self._looks)
        self.within_s = self._probe.within_s

    @override
    def __call__(self) -> Reading:
        self._failed.append(self._probe.play().failed.met is True)
        percent = 100.0 * sum(self._failed) / len(self._failed)
        enough = len(self._failed) == self._looks
        text = f"{percent:g} % of {len(self._failed)} looks at {self._probe.name!r} failed, allowed {self._percent:g}"
        return Reading(enough and percent > self._percent, text)
