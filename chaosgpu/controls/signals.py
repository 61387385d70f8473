# SPDX-License-Identifier: Apache-2.0
"""Stop signals: an orderly stop in which rollbacks run, and an undo that does not wait for Chaos Toolkit to unwind."""

import logging
import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from queue import SimpleQueue
from types import FrameType

__all__ = ["STOP_SIGNALS", "Phase", "StopSignals"]

logger = logging.getLogger("chaostoolkit")

# Of these Chaos Toolkit handles SIGTERM and SIGINT; the other two would end it with nothing undone and no journal.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
# Chaos Toolkit's own code for "stop now and play the rollbacks"; `except Exception` in an activity cannot swallow it.
_STOP_AND_ROLL_BACK = 20

type _Previous = Callable[[int, FrameType | None], object] | int | None


class Phase(StrEnum):
    """Where the run is, as far as a signal is concerned."""

    STARTING = "starting"
    PLAYING = "playing"
    CLOSING = "closing"  # rollbacks and the last sweep: a signal is only recorded, else the rest would be lost


class StopSignals:
    """Turns the stop signals into SystemExit while the experiment plays, and tells `on_stop` from its own thread."""

    def __init__(self, on_stop: Callable[[str, Phase], None]) -> None:
        self.phase = Phase.STARTING
        self.received: list[str] = []
        self._on_stop = on_stop
        self._own = False
        # Its put may be called from a signal handler, unlike that of Event or Queue.
        self._arrived: SimpleQueue[tuple[str, Phase] | None] = SimpleQueue()
        self._settled = threading.Event()
        self._previous: dict[signal.Signals, _Previous] = {}
        self._watcher = threading.Thread(target=self._watch, name="chaosgpu-stop", daemon=True)

    def install(self) -> None:
        """Take over the signals, for the main thread; one that is ignored stays so, as under `nohup`."""
        self._watcher.start()
        for one in STOP_SIGNALS:
            if signal.getsignal(one) is not signal.SIG_IGN:
                self._previous[one] = signal.signal(one, self._handle)

    def stop(self) -> None:
        """Stop the run from another thread as a signal does, without one having been received."""
        installed = next(iter(self._previous), None)
        main = threading.main_thread().ident
        self._settled.set()  # whoever calls this has undone already
        if installed is not None and main is not None:
            self._own = True
            signal.pthread_kill(main, installed)

    def restore(self) -> None:
        """Give the signals back and end the thread."""
        for one, previous in self._previous.items():
            signal.signal(one, previous if previous is not None else signal.SIG_DFL)
        self._previous.clear()
        self._arrived.put(None)
        if self._watcher.ident is not None:
            self._watcher.join(timeout=5)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        """Record the signal; while playing the first one stops the run.

        A later one is only recorded until the undo has been done; after that it gets us out of a wait for an
        activity that hangs.
        """
        if self._own:
            self._own = False
            if self.phase is Phase.PLAYING:
                raise SystemExit(_STOP_AND_ROLL_BACK)
            return
        name = signal.Signals(number).name
        first = not self.received
        self.received.append(name)
        self._arrived.put((name, self.phase))
        if self.phase is Phase.PLAYING and (first or self._settled.is_set()):
            raise SystemExit(_STOP_AND_ROLL_BACK)

    def _watch(self) -> None:
        """Wait for signals in a thread of our own."""
        while (arrived := self._arrived.get()) is not None:
            self._on_stop(*arrived)
            self._settled.set()
