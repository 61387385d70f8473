# SPDX-License-Identifier: Apache-2.0
"""Memory taken in the order that others use: the fault first, by a process of its own, and no record at all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu.card import MIB, Card

__all__ = ["held_without_a_lease"]

_STARTING = "import subprocess, sys\nprint(subprocess.Popen(sys.argv[1:], start_new_session=True).pid, flush=True)\n"


@contextmanager
def held_without_a_lease(card: Card, share: float) -> Iterator["subprocess.Popen[str]"]:
    """Have a share of the free memory held; gives the process that had it taken, and ends the holder afterwards."""
    script, mib = str(Path(__file__).with_name("victim.py")), int(card.memory().free * share) // MIB
    holder = [sys.executable, script, "hold", card.uuid, str(mib)]
    words = [sys.executable, "-c", _STARTING + "sys.stdin.read()", *holder]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        try:
            assert starter.stdout.readline() == "holds\n"
            yield starter
        finally:
            os.kill(pid, signal.SIGKILL)
