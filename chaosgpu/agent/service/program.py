# SPDX-License-Identifier: Apache-2.0
"""Programs of the host, found in fixed places and run to their end or their deadline, never through a shell."""

import os
import subprocess
from typing import Optional, Sequence

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.tools import Done, Tools

__all__ = ["Done", "find", "run"]

_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/slurm/bin")


def find(name: str) -> Optional[str]:
    """Return the path of a program; None where this host has none of that name."""
    found = (f"{folder}/{name}" for folder in _FOLDERS)
    return next((path for path in found if os.access(path, os.X_OK)), None)


def run(words: Sequence[str], within_s: float, stdin: str = "") -> Done:
    """Run it; it ends when we die, and with all that it started at its deadline, which is Unanswered."""
    try:
        return Tools().run(words, within_s, stdin=stdin)
    except Unanswered as error:
        if not isinstance(error.__cause__, subprocess.TimeoutExpired):
            raise
        shown = " ".join(words)[:200]
        raise Unanswered(
            f"`{shown}` was not done within {within_s:.0f} s and was ended, with all that it had started."
        ) from error
