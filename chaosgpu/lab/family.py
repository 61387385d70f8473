# SPDX-License-Identifier: Apache-2.0
"""A process and everything that it started: PostgreSQL gives each of its children a session of its own."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["end", "family", "is_stopped", "signal_all"]

_POLL_S = 0.02


def family(pid: int) -> list[int]:
    """List a process and its descendants, the eldest first."""
    return list(_walk(pid))


def _walk(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in path.read_text().split():
                yield from _walk(int(child))


def signal_all(pid: int, signum: int) -> list[int]:
    """Signal a process and its descendants until no new one is found; return them."""
    reached: list[int] = []
    while new := [one for one in family(pid) if one not in reached]:
        for one in new:
            with suppress(ProcessLookupError):
                os.kill(one, signum)
        reached += new
    return reached


def is_stopped(pid: int) -> bool:
    """Tell whether it is stopped or gone: a thread on another core goes on until the signal has reached it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "TtZX"


def end(process: "subprocess.Popen[bytes]", signum: int, within_s: float) -> None:
    """Ask a process to end, kill what is left of it and its descendants after `within_s`, and reap it."""
    everyone = family(process.pid) if process.poll() is None else []
    with suppress(ProcessLookupError):
        process.send_signal(signum)
    with suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
    for one in everyone:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    process.wait(within_s)
    deadline = time.monotonic() + within_s
    while any(Path(f"/proc/{one}").exists() for one in everyone) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
