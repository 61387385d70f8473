# SPDX-License-Identifier: Apache-2.0
"""Watch stop conditions: each is looked at from a thread of its own, so that one which hangs hides no other.

A reading that is older than its condition's own time is none.
"""

import threading
import time
from collections.abc import Callable

from chaosgpu.stops.contract import Leaf, Reading, Stop

__all__ = ["BEAT_S", "Watching"]

BEAT_S = 1.0
_TRIES = 2
_STEP_S = 0.02


class Watching:
    """The conditions of one run, being looked at."""

    def __init__(self, stop: Stop, now: Callable[[], float] = time.monotonic) -> None:
        self._stop = stop
        self._now = now
        self._over = threading.Event()
        self._looks = {leaf: _Look(leaf, now, self._over) for leaf in stop.leaves()}

    def first(self) -> Reading:
        """Wait for the first look at each condition; one that cannot be read makes the whole unknown."""
        for look in self._looks.values():
            while not look.has_looked and not look.late:
                time.sleep(_STEP_S)
        unknown = [reading for look in self._looks.values() if (reading := look.reading()).met is None]
        return unknown[0] if unknown else self.reading()

    def reading(self) -> Reading:
        """Join the last looks; this never waits."""
        return self._stop.judge(lambda leaf: self._looks[leaf].reading())

    def end(self) -> None:
        """Look no more; a look that hangs is left to the end of the process."""
        self._over.set()


class _Look:
    """One condition, looked at over and over."""

    def __init__(self, leaf: Leaf, now: Callable[[], float], over: threading.Event) -> None:
        self._leaf = leaf
        self._now = now
        self._over = over
        self._began_s = now()
        self._last: Reading | None = None
        threading.Thread(target=self._look, name=f"chaosgpu-stop-{leaf.name}", daemon=True).start()

    @property
    def has_looked(self) -> bool:
        """Tell whether there is a reading."""
        return self._last is not None

    @property
    def late(self) -> bool:
        """Tell whether the look that is under way takes too long."""
        return self._now() - self._began_s > BEAT_S + self._leaf.within_s

    def reading(self) -> Reading:
        """Return the last reading, or that there is none."""
        if self._last is None or self.late:
            return Reading(None, f"{self._leaf.name} gave no reading within {self._leaf.within_s:g} s")
        return self._last

    def _look(self) -> None:
        while not self._over.is_set():
            self._began_s = self._now()
            self._last = self._once()
            self._over.wait(max(0.0, self._began_s + BEAT_S - self._now()))

    def _once(self) -> Reading:
        """Look, at once again where that fails, and say what failed where it fails twice."""
        why = ""
        for _ in range(_TRIES):
            try:
                return self._leaf()
            except (Exception, SystemExit) as error:  # noqa: BLE001 (a probe is anybody's code)
                why = f"{type(error).__name__}: {error}"
        return Reading(None, f"{self._leaf.name} cannot be read: {why}")
