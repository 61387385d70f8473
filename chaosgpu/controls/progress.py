# SPDX-License-Identifier: Apache-2.0
"""The sign of progress that keeps leases renewed: it speaks of the main thread, which plays the experiment.

What counts as progress: the main thread has not ended, the kernel would run it or it waits as a thread does, and
nobody has asked the run to stop. One long activity is progress. So a stopped, killed or starved controller gives no
sign, and neither does one whose main thread is gone while an activity in the background still hangs. What cannot be
told from a long activity is one that never returns: `max_duration_s` ends its faults, whatever is renewed.
"""

import threading
from pathlib import Path

from chaosgpu.lease.run import Run

__all__ = ["Pulse", "makes_progress"]

# Of /proc: disk wait, stopped, traced, and two words for dead. A thread that is well is in none of them for long.
_STANDS_STILL = frozenset("DTtZXx")
_LONGEST_S = 1.0
_IDLE_S = 0.25
_PARTS = 10  # of a TTL between two signs


def makes_progress(thread: threading.Thread) -> bool:
    """Tell whether a thread of this process still runs; one that nobody knows of does not."""
    if not thread.is_alive() or thread.native_id is None:
        return False
    try:
        stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] not in [[state] for state in _STANDS_STILL]


class Pulse:
    """Gives the signs, from a thread of its own that does nothing else."""

    def __init__(self, run: Run, main: threading.Thread | None = None) -> None:
        self._run = run
        self._main = threading.main_thread() if main is None else main
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="chaosgpu-pulse", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        renewal = self._run.renewal
        while not self._over.wait(min(_LONGEST_S, renewal.ttl_s / _PARTS or _IDLE_S)):
            if renewal.going and not self._run.closing.is_set() and makes_progress(self._main):
                renewal.sign()

    def end(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join(timeout=5)
