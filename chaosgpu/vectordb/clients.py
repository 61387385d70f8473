# SPDX-License-Identifier: Apache-2.0
"""The client processes of this run: each in a session of its own, with a deadline, ended when this process is gone."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from chaosgpu import errors
from chaosgpu.errors import BadArgument, ChaosGpuError, FaultUnverified, Refused
from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb.backends import contract
from chaosgpu.vectordb.order import Order

__all__ = ["COMMAND", "Client", "by_name", "refuse_taken", "start", "started"]

COMMAND: tuple[str, ...] = (sys.executable, "-m", "chaosgpu.vectordb.client")
_START_S = 30.0
_END_S = 5.0


@dataclass(eq=False)
class Client:
    """A client process, under way or ended."""

    order: Order
    process: "subprocess.Popen[bytes]"
    # Whether somebody told it to stop; one that ends before its time without that has failed.
    stopped: bool = False

    @property
    def going(self) -> bool:
        """Tell whether the process is there."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Close its input, which ends it in order; after its time the whole group is killed. Again is harmless."""
        self.stopped = self.stopped or self.going
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(self.order.timeout_s + _END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def report(self) -> JsonObject | None:
        """Return what it said at its end; None where it did not come to that."""
        try:
            found = json.loads(Path(self.order.report).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


_CLIENTS: dict[str, Client] = {}


def by_name(name: object) -> Client:
    """Return the client that was started last under this name."""
    client = _CLIENTS.get(name) if isinstance(name, str) else None
    if client is None:
        raise BadArgument(f"No client {name!r} was started in this run; there is: {', '.join(_CLIENTS) or 'none'}.")
    return client


def started(name: object) -> bool:
    """Tell whether a client of this name was started in this run."""
    return name in _CLIENTS


def refuse_taken(name: str) -> None:
    """Refuse a name under which a client is under way: its collection must not be made anew beneath it."""
    before = _CLIENTS.get(name)
    if before is not None and before.going:
        raise Refused(f"A client {name!r} is already under way; stop it first, or give this one another name.")


def start(order: Order) -> Client:
    """Start a client and wait until the database has answered it; what it says against its order is raised."""
    refuse_taken(order.name)
    log = Path(order.report).with_suffix(".log")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(log, flags, 0o600)
    try:
        process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, start_new_session=True, bufsize=0
        )
    finally:
        os.close(file)
    client = Client(order, process)
    try:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended: what it said, or did not, says so
                process.stdin.write(order.to_json().encode() + b"\n")
        _heed(_answer(process), log)
    except BaseException:
        client.stop()
        raise
    _CLIENTS[order.name] = client
    return client


def _answer(process: "subprocess.Popen[bytes]") -> JsonObject | None:
    """Read its first line; None where it ended without one."""
    stream, said, end_s = process.stdout, b"", time.monotonic() + _START_S
    while stream is not None and not said.endswith(b"\n"):
        left_s = end_s - time.monotonic()
        if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
            raise FaultUnverified(f"The client sent nothing within {_START_S:g} s; it was ended.", "unverified")
        piece = os.read(stream.fileno(), 65536)
        if not piece:
            return None
        said += piece
    document = json.loads(said)
    return document if isinstance(document, dict) else None


def _heed(said: JsonObject | None, log: Path) -> None:
    if said is None:
        words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise Refused(f"The client could not begin: {words[0]}. All it said is in {log}.")
    if "error" in said:
        name = str(said.get("kind"))
        kind: type[ChaosGpuError] = getattr(errors, name, getattr(contract, name, ChaosGpuError))
        raise kind(str(said["error"]))
