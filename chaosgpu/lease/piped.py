# SPDX-License-Identifier: Apache-2.0
"""A process of ours behind a pipe: in a session of its own, and ended by the pipe when this process is gone."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from chaosgpu.fleet.values import JsonObject

__all__ = ["Started", "ask_first", "end_piped", "last_words", "start_piped"]

type Started = subprocess.Popen[bytes]


def start_piped(command: Sequence[str], log: Path) -> Started:
    """Start it, its errors in the log. Ctrl-C is for the controller, whose end closes its standard input."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True, bufsize=0
        )
    finally:
        os.close(file)


def ask_first(process: Started, line: str, within_s: float) -> JsonObject | None:
    """Tell it its order and read the one line it says to that; None where it ended without one.

    TimeoutError where it says nothing within `within_s` seconds.
    """
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: what it said, or did not, says so
            process.stdin.write(line.encode() + b"\n")
    stream, said, end_s = process.stdout, b"", time.monotonic() + within_s
    while stream is not None and not said.endswith(b"\n"):
        left_s = end_s - time.monotonic()
        if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
            raise TimeoutError(f"nothing was said within {within_s:g} s")
        piece = os.read(stream.fileno(), 65536)
        if not piece:
            return None
        said += piece
    document = json.loads(said)
    return document if isinstance(document, dict) else None


def last_words(log: Path) -> str:
    """Return the last line of its log: why it ended, where it did not say so itself."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def end_piped(process: Started, within_s: float) -> None:
    """Close its input, which ends it in order; after its time the whole group is killed. Again is harmless."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(max(within_s, 0.05))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
