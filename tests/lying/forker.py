# SPDX-License-Identifier: Apache-2.0
"""An agent that is forked for each request from one process which has it loaded: as real as a started one, and cheap.

Thousands of runs would spend their time on starting Python. Keepers and holders are started as everywhere else.
"""

import contextlib
import io
import json
import os
import signal
import socket
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.main import main
from chaosgpu.agent.values import JsonMapping
from chaosgpu.errors import Unreachable
from chaosgpu.fleet.transports import Reply
from unit.faults import fault_agent

_LENGTH = struct.Struct("!I")


class Forker:
    """The process that forks; to be made before this process has any thread."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "agent.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(16)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _serve(listener)
            finally:
                os._exit(0)
        listener.close()

    def end(self) -> None:
        """End it; what it forked ends with its request."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class ForkedTransport:
    """The transport to an agent of one home."""

    def __init__(self, forker: Forker, environment: dict[str, str]) -> None:
        self._forker, self._environment = forker, environment

    def command_of(self, host: str) -> tuple[str, ...] | None:  # noqa: ARG002 (the seam)
        """Return None: leases here are too short to be renewed."""
        return None

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Have one request answered by a process of its own."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            try:
                line.connect(self._forker.path)
                _send(line, json.dumps({"verb": verb, "environment": self._environment}).encode())
                _send(line, document)
                status, answer = json.loads(_receive(line)), _receive(line)
            except (OSError, ValueError) as error:
                raise Unreachable(f"The agent on {host} did not answer {verb!r}: {error}.") from error
        return Reply(int(status), answer, b"")


def _serve(listener: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    while True:
        line, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            try:
                _answer(line)
            finally:
                os._exit(0)
        line.close()


def _answer(line: socket.socket) -> None:
    """Be the agent for one request."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order = json.loads(_receive(line))
    os.setsid()
    os.environ.clear()
    os.environ.update(order["environment"])
    document, out = io.BytesIO(_receive(line)), io.BytesIO()
    parts = replace(fault_agent.parts(), new_driver=partial(_driver, order["environment"]))
    with contextlib.redirect_stderr(io.StringIO()):
        status = main([order["verb"]], document, out, parts, order["environment"])
    _send(line, str(status).encode())
    _send(line, out.getvalue())


def _driver(
    own: Mapping[str, str], environment: Mapping[str, str] | None = None, library: JsonMapping | None = None
) -> ForkedDriver:
    """Return the driver of this request: a forked process keeps the library path that its parent was started with."""
    return ForkedDriver(own if environment is None else environment, library)


def _send(line: socket.socket, content: bytes) -> None:
    line.sendall(_LENGTH.pack(len(content)) + content)


def _receive(line: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size))
    return _exactly(line, length)


def _exactly(line: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        block = line.recv(length - len(content))
        if not block:
            raise ConnectionError("it ended before its answer")
        content += block
    return content
