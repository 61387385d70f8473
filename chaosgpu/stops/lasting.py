# SPDX-License-Identifier: Apache-2.0
"""For how long something has been so without a break."""

from chaosgpu.stops.contract import Reading
from chaosgpu.stops.scene import Scene

__all__ = ["Lasting"]


class Lasting:
    """Turns what is so at each look into what has been so for some seconds."""

    def __init__(self, scene: Scene, for_s: float) -> None:
        self._scene = scene
        self._for_s = for_s
        self._since_s: float | None = None

    def seen(self, reading: Reading, at_s: float) -> Reading:
        """Take one look, begun at `at_s`; what nobody knows neither goes on nor breaks off."""
        if reading.met is None:
            return reading
        if not reading.met:
            self._since_s = None
            return reading
        if self._since_s is None:
            self._since_s = at_s
        lasted_s = self._scene.now() - self._since_s
        return Reading(lasted_s >= self._for_s, f"{reading.text}, for {lasted_s:.1f} s of {self._for_s:g}")
