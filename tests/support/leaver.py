# SPDX-License-Identifier: Apache-2.0
"""Actions that leave something of a lease behind, for experiments of tests."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["leave_a_keeper"]


def leave_a_keeper(pids: str) -> str:
    """Start what looks like the keeper of the run's lease and never ends; its pid goes into a file."""
    leases = Path(os.environ["CHAOSGPU_AGENT_HOME"]) / "leases"
    folder = next(iter(sorted(leases.iterdir())))
    sleeper = [sys.executable, "-c", "import time; time.sleep(120)", "keep", str(folder)]
    child = subprocess.Popen(sleeper, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    Path(pids).write_text(str(child.pid))
    return folder.name
