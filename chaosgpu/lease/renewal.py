# SPDX-License-Identifier: Apache-2.0
"""The controller's end of the renewal: starts the renewer with the first lease, and tells it that the run goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from chaosgpu.errors import Refused
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.piped import Started, start_piped
from chaosgpu.lease.renewer import now_s

__all__ = ["RENEWER", "Renewal", "Way"]

RENEWER: tuple[str, ...] = (sys.executable, "-m", "chaosgpu.lease.renewer")
_END_S = 2.0
_KILLED = "the renewer has ended"
_CHUNK = 65536

type Start = Callable[[Sequence[str], Path], Started]


class Way:
    """How a lease is renewed: by which command its agent is reached, in whose name, for how long.

    A command that reaches several hosts is told the `host` of each lease.
    """

    def __init__(self, command: Sequence[str], operator: str, ttl_s: float, host: str | None = None) -> None:
        self.ttl_s, self.host = ttl_s, host
        self.order: JsonObject = {"command": [*command], "operator": operator, "ttl_s": ttl_s, "fleet": bool(host)}


class Renewal:
    """Holds the writing end of the renewer's pipe. Any thread may call it, and no call waits."""

    def __init__(self, log: Path, start: Start = start_piped) -> None:
        self._log = log
        self._start = start
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._said_why = False
        # Why nothing is renewed any more; from then on nothing ever is.
        self.ended: str | None = None
        self.ttl_s = 0.0

    @property
    def going(self) -> bool:
        """Tell whether a renewer runs."""
        return self._child is not None and self.ended is None

    def hold(self, lease: str, way: Way) -> None:
        """Renew this lease too; raise Refused where nothing would renew it."""
        with self._lock:
            if self.ended is None and self._child is None:
                try:
                    self._child = self._start(RENEWER, self._log)
                except OSError as error:
                    raise Refused(
                        f"The renewer could not be started: {error}. A shorter duration_s needs none."
                    ) from error
                for stream in (self._child.stdin, self._child.stdout):
                    if stream is not None:
                        os.set_blocking(stream.fileno(), False)
                self.ttl_s = way.ttl_s
                self._tell(way.order)
            self._tell({"at": now_s(), "hold": lease, "host": way.host})
            if self.ended is not None:
                raise Refused(f"The lease would not be renewed, so it was not made: {self.ended}.")

    def drop(self, lease: str) -> None:
        """Renew this lease no more: it is about to be undone."""
        with self._lock:
            if self.going:
                self._tell({"drop": lease})

    def sign(self) -> None:
        """Say that the run makes progress now."""
        with self._lock:
            if self.going:
                self._tell({"at": now_s()})

    def stop(self) -> None:
        """Renew nothing any more, from now on and for good."""
        with self._lock:
            if self.going:
                self._tell({"stop": True})
                self._close_input()
            self.ended = self.ended or "the run ends"

    def reports(self) -> list[JsonObject]:
        """Return what the renewer has said since the last call."""
        with self._lock:
            stream = None if self._child is None else self._child.stdout
            if stream is None or stream.closed:
                return []
            try:
                chunk = os.read(stream.fileno(), _CHUNK)
            except BlockingIOError:
                return []
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            reports: list[JsonObject] = [report for line in lines if isinstance(report := json.loads(line), dict)]
            self._said_why |= any("stopped" in report for report in reports)
            if not chunk:
                stream.close()
                reports += [] if self._said_why else [{"stopped": _KILLED}]
            if not chunk or self._said_why:
                self._gone(next((str(report["stopped"]) for report in reports if "stopped" in report), _KILLED))
            return reports

    def close(self) -> None:
        """Stop, and see the process off."""
        self.stop()
        child = self._child
        if child is None:
            return
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

    def _tell(self, message: JsonObject) -> None:
        """Write one line; whole or not at all, since it is shorter than what a pipe takes at once."""
        stream = None if self._child is None else self._child.stdin
        if stream is None or stream.closed:
            return
        try:
            os.write(stream.fileno(), json.dumps(message).encode() + b"\n")
        except BlockingIOError:
            return  # the renewer stands still: without signs of progress nothing is renewed
        except BrokenPipeError:
            self._gone(_KILLED)

    def _gone(self, why: str) -> None:
        self.ended = self.ended or why
        self._close_input()

    def _close_input(self) -> None:
        if self._child is not None and self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
