# SPDX-License-Identifier: Apache-2.0
"""Stop conditions of one lease, watched beside its keeper: a look that hangs must not make the keeper late.

A child of the keeper looks once a second, with one driver of its own for all looks, and writes a line each time. No
line in time is no reading, and that is a stop. The child ends with the keeper.
"""

import json
import os
import select
import signal
from functools import partial
from typing import List, Optional

from chaosgpu.agent.environment import from_record
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.process import fork_served
from chaosgpu.agent.record import Undo
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["EVERY_S", "FIRST_WITHIN_S", "SILENT_S", "Watcher"]

EVERY_S = 1.0
# A driver call may take 5 s before it counts as hung; we do not wait for the second try of one.
SILENT_S = 5.0
FIRST_WITHIN_S = 8.0  # the first look starts the driver
_TRIES = 2
_BLOCK_BYTES = 65536


class Watcher:
    """What the keeper asks at each of its looks; it answers at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._undo: Optional[Undo] = None
        self._reason: Optional[str] = None
        self._starts = 0
        self._child = self._requests = self._answers = -1
        self._unread = b""
        self._due_s = 0.0

    def __call__(self, folder: LeaseFolder) -> Optional[str]:
        """Return why the lease is to be stopped, as a sentence's part; None while it may go on."""
        if self._undo is None:
            self._undo = folder.undo_record()
        if self._undo is None or not self._undo.stop_when:
            return None
        if self._reason is None:
            self._reason = self._look(self._undo)
        return self._reason

    def _look(self, undo: Undo) -> Optional[str]:
        now_s = self._host.clock.boottime_s()
        if self._child < 0:
            try:
                self._start(undo)
            except OSError as error:
                return f"its stop conditions could not be watched, which counts as met: {error.strerror}"
            self._due_s = now_s + FIRST_WITHIN_S
        said = self._said()
        if said is None:
            self._end()
            ended = "the process that watches its stop conditions ended"
            return f"{ended} {_TRIES} times" if self._starts >= _TRIES else None
        for line in said:
            self._due_s = now_s + SILENT_S
            look = json.loads(line)
            if look["met"]:
                return f"its stop condition was met: {look['reading']}"
            if look["met"] is None:
                return f"its stop condition could not be read, which counts as met: {look['reading']}"
        if now_s >= self._due_s:
            self._end()
            return "its stop conditions gave no reading in time, which counts as met"
        return None

    def _said(self) -> Optional[List[bytes]]:
        """Return the lines that have come; None where the child has ended."""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while poll.poll(0):
            block = os.read(self._answers, _BLOCK_BYTES)
            if not block:
                return None
            self._unread += block
        *lines, self._unread = self._unread.split(b"\n")
        return lines

    def _start(self, undo: Undo) -> None:
        self._starts += 1
        self._unread = b""
        self._child, self._requests, self._answers = fork_served(partial(_watch, self._host, undo))

    def _end(self) -> None:
        """End the child; one that is stuck in the kernel is left to init."""
        for descriptor in (self._requests, self._answers):
            os.close(descriptor)
        try:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, os.WNOHANG)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has ended, and that is all we want
        self._child = self._requests = self._answers = -1


def _watch(host: Host, undo: Undo, requests: int, answers: int) -> None:
    from chaosgpu.agent.readings.catalogue import Tools  # noqa: PLC0415 (only leases with stop conditions need them)
    from chaosgpu.agent.stops.begin import kernel_log  # noqa: PLC0415 (as above)
    from chaosgpu.agent.stops.judge import judge  # noqa: PLC0415 (as above)

    environment = from_record(undo.environment)
    tools = Tools(host.new_driver(environment, undo.library), host.clock, kernel_log=kernel_log(environment))
    tree, begun = undo.stop_when["when"], undo.stop_when["begun"]
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        look = judge(_object(tree), iter(begun if isinstance(begun, list) else []), tools)
        os.write(answers, json.dumps({"met": look.met, "reading": look.reading}).encode() + b"\n")
        if poll.poll(EVERY_S * 1000):
            return  # the keeper has gone


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
