# SPDX-License-Identifier: Apache-2.0
"""The run under way, for whoever is about to change something: without the guard nothing is changed."""

import logging
import os
import signal

from chaosgpu.errors import NoGuard, Refused
from chaosgpu.lease.run import Run, current_run

__all__ = ["guarded_run", "refuse_closing"]

logger = logging.getLogger("chaostoolkit")


def guarded_run() -> Run:
    """Return the run; raise NoGuard where the guard control is not active, and stop the experiment."""
    try:
        return current_run()
    except NoGuard:
        _stop_unguarded()
        raise


def refuse_closing(run: Run, what: str) -> None:
    """Refuse what would break something while the run is being stopped or rolled back, or before it is ready."""
    if run.closing.is_set():
        raise Refused(f"{what}: the run is being stopped or rolled back.")
    if run.not_ready is not None:
        raise Refused(f"{what}: {run.not_ready}.")


def _stop_unguarded() -> None:
    """End a `chaos run` without the guard: Chaos Toolkit would count the refused action and end green."""
    handler = signal.getsignal(signal.SIGUSR1)
    # Only Chaos Toolkit's own handler makes an orderly stop of this signal; elsewhere it would kill the process.
    if getattr(handler, "__module__", None) == "chaoslib.exit":
        logger.error("A fault was asked for in a run without the guard control: the run is stopped.")
        os.kill(os.getpid(), signal.SIGUSR1)
