# SPDX-License-Identifier: Apache-2.0
"""The driver's child: it alone loads NVML, so that a call which hangs in the kernel hangs nothing else.

It reads one JSON line a call and writes one a call. It ends when its pipe is closed and when its parent dies.
"""

import ctypes
import json
import mmap
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO, List, Mapping, Optional

from chaosgpu.agent import library
from chaosgpu.agent.errors import AgentError, DriverDied, DriverFailed
from chaosgpu.agent.library import Library
from chaosgpu.agent.values import JsonObject, JsonValue

_PR_SET_PDEATHSIG = 1
_STANDARD_STREAMS = 3
_DEFECT = "This is a defect in chaosgpu; please report it."


def become_child(requests: int, answers: int, parent: int) -> None:
    """Cut every tie to the parent but the two pipes: its locks, its terminal, its streams, its signal handlers."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # the parent died before the line above could tell us
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    # A child stuck in the kernel must not keep a lease's lock held or the caller's standard error open.
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) not in (requests, answers):
            _close_quietly(int(path.name))
    for _ in range(_STANDARD_STREAMS):
        os.open(os.devnull, os.O_RDWR)


def serve(
    requests: BinaryIO, answers: BinaryIO, environment: Optional[Mapping[str, str]], recorded: JsonObject
) -> None:
    """Answer calls until the parent closes its end."""
    session = _Session(environment, recorded)
    forked_in = sys.exc_info()[1]  # what the parent was handling when it forked is no defect of a call
    for line in requests:
        request = json.loads(line)
        try:
            reply: JsonObject = {"answer": session.call(request["call"], request["arguments"])}
        except AgentError as error:
            code = error.code if isinstance(error, DriverFailed) else None
            reply = {"error": {"kind": error.kind, "message": str(error), "code": code}}
        finally:
            bug = sys.exc_info()[1]
            if (
                bug is not None and bug is not forked_in
            ):  # it is about to end this process, and nobody else would see it
                what = f"The driver call {request['call']} failed with {type(bug).__name__}: {bug}."
                # Which file or module could not be loaded, or what memory was short, says nothing about the driver.
                ours = isinstance(bug, (OSError, MemoryError, ImportError))
                kind, more = (DriverDied.kind, "") if ours else ("internal", f" {_DEFECT}")
                _send(answers, request["number"], {"error": {"kind": kind, "message": f"{what}{more}"}})
        _send(answers, request["number"], reply)


class _Session:
    """NVML, started with the first call and again after a start that failed."""

    def __init__(self, environment: Optional[Mapping[str, str]], recorded: JsonObject) -> None:
        self._environment = environment
        self._recorded = Library.from_json(recorded) if recorded else None
        self._started = False

    def call(self, name: str, arguments: List[JsonValue]) -> JsonValue:
        from chaosgpu.agent import nvml_calls  # noqa: PLC0415 (pynvml costs 25 ms; only the child pays them)

        function = nvml_calls.resolve(name)
        if not self._started:
            self._start()
            self._started = True
        try:
            return function(*arguments)
        except nvml_calls.nvml.NVMLError as error:
            nvml_calls.fail(error.value, f"The driver call {name} with {arguments}")

    def _start(self) -> None:
        """Load the library and start NVML, twice where need be: one call that failed once says nothing."""
        if self._environment is not None:
            os.environ.update(self._environment)
        try:
            self._load()
        except DriverFailed:
            _check_not_short()
            self._load()

    def _load(self) -> None:
        from chaosgpu.agent import nvml_calls  # noqa: PLC0415 (as above)

        if self._recorded is not None:
            library.preload(self._recorded)
        elif self._environment is not None:
            library.preload_from(self._environment)
        try:
            nvml_calls.nvml.nvmlInit()
        except nvml_calls.nvml.NVMLError as error:
            nvml_calls.fail(error.value, "Starting NVML")
        if self._recorded is not None:
            library.check_is(self._recorded, library.loaded())


def _check_not_short() -> None:
    """Raise OSError where this process can open, read or map nothing: NVML would say that no driver is there."""
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    try:
        os.read(descriptor, 1)
        mmap.mmap(-1, mmap.PAGESIZE).close()
    finally:
        os.close(descriptor)


def _send(answers: BinaryIO, number: JsonValue, reply: JsonObject) -> None:
    answers.write(json.dumps({"number": number, **reply}).encode() + b"\n")
    answers.flush()


def _close_quietly(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # it was the listing's own descriptor
