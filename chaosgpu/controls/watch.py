# SPDX-License-Identifier: Apache-2.0
"""The guard's own eyes while the main thread is busy: what the renewer says, and whether each fault is in force."""

import threading
from collections.abc import Callable

from chaosgpu.lease.renewed import take_reports
from chaosgpu.lease.run import Run

__all__ = ["Watch"]

_TICK_S = 0.2


class Watch:
    """A thread that looks several times a second; `look` decides whether the host is asked."""

    def __init__(self, run: Run, look: Callable[[], None]) -> None:
        self._run = run
        self._look = look
        self._failing = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="chaosgpu-watch", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(_TICK_S):
            self._failing = take_reports(self._run, failing=self._failing)
            self._look()

    def end(self) -> None:
        """End the thread; one that waits for a host is left to its deadline."""
        self._over.set()
        self._thread.join(timeout=5)
