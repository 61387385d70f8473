# SPDX-License-Identifier: Apache-2.0
"""Run one command of an argument list with a deadline, and leave no process of its group behind."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chaosgpu.errors import Refused

__all__ = ["Done", "Run", "run_command"]

_LONGEST = 300


@dataclass(frozen=True)
class Done:
    """How a command ended: its status, and what it wrote."""

    status: int
    out: bytes
    err: str

    @property
    def said(self) -> str:
        """The last line that it wrote on standard error, else on standard output."""
        text = self.err.strip() or self.out.decode(errors="replace").strip() or "it said nothing"
        return text.splitlines()[-1][:_LONGEST]


type Run = Callable[[Sequence[str], bytes, float], Done]


def run_command(
    command: Sequence[str], given: bytes, within_s: float, environment: Mapping[str, str] | None = None
) -> Done:
    """Run it; Refused where it cannot be started or does not end in time, with its whole process group ended."""
    try:
        child = subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Refused(f"{command[0]} could not be started: {error}. Install it, or name it rightly.") from error
    try:
        out, err = child.communicate(given, timeout=within_s)
    except subprocess.TimeoutExpired as error:
        raise Refused(f"{command[0]} gave no answer within {within_s:g} s, and was ended.") from error
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
    return Done(child.returncode, out, err.decode(errors="replace"))
