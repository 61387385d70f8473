# SPDX-License-Identifier: Apache-2.0
"""The stop conditions of the run under guard: planned, looked at before anything is touched, watched until rollback."""

import threading
from collections.abc import Callable

from chaoslib import substitute

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject
from chaosgpu.stops.contract import Reading
from chaosgpu.stops.plan import plan_of
from chaosgpu.stops.scene import Scene
from chaosgpu.stops.watching import Watching

__all__ = ["Stopping"]

_TICK_S = 0.2


class Stopping:
    """What the guard's argument `stop_when` asks for."""

    # What each host watches, sent with each fault.
    host: JsonObject | None = None

    def __init__(self, stop_when: object, scene: Scene) -> None:
        self._stop_when = stop_when
        self._scene = scene
        self._watching: Watching | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def why_refused(self) -> str | None:
        """Say why nothing may be played: a mistake, a condition that is met already, or one that cannot be read."""
        try:
            scene = self._scene
            stop_when = substitute({"stop_when": self._stop_when}, scene.configuration, scene.secrets)["stop_when"]
            plan = plan_of(stop_when, scene)
        except BadArgument as error:
            return f"The guard's stop_when is wrong. {error}"
        self.host = plan.host
        if plan.here is None:
            return None
        self._watching = Watching(plan.here, scene.now)
        first = self._watching.first()
        if first.met is False:
            return None
        self._watching.end()
        how = "cannot be read" if first.met is None else "is met already"
        return f"A stop condition {how}, so nothing is put in: {first.text}."

    def watch(self, on_trip: Callable[[str, Reading], None]) -> None:
        """From a thread of our own say, once, that the conditions are met or not known."""
        if self._watching is not None:
            self._thread = threading.Thread(
                target=self._watch, args=(self._watching, on_trip), name="chaosgpu-stopping", daemon=True
            )
            self._thread.start()

    def _watch(self, watching: Watching, on_trip: Callable[[str, Reading], None]) -> None:
        while not self._over.wait(_TICK_S):
            reading = watching.reading()
            if reading.met is not False:
                how = "was met" if reading.met else "could not be read, which counts as met"
                on_trip(f"a stop condition {how}: {reading.text}", reading)
                return

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        if self._watching is not None:
            self._watching.end()
