# SPDX-License-Identifier: Apache-2.0
"""The simulator's own library: the one that knows the layout of the state file."""

import ctypes
import threading
from pathlib import Path

from chaosgpu.errors import BadArgument, LabFailed

__all__ = ["Native"]

_LOCK = threading.Lock()  # the library keeps one open file at a time

_REASONS = {
    -2: "there is no such field",
    -3: "the value does not fit it",
    -4: "there is no such GPU",
    -5: "there is no such function",
}


class Native:
    """Typed calls into `libexec/simulator.so` for one state file."""

    def __init__(self, libraries: Path, state: Path) -> None:
        self._library = ctypes.CDLL(str(libraries / "libexec" / "simulator.so"))
        self._library.sim_show.restype = ctypes.c_void_p
        self._state = state

    def create(self, gpus: int) -> None:
        """Make the state file; raises LabFailed when it is there already or cannot be written."""
        if self._library.sim_create(str(self._state).encode(), ctypes.c_int(gpus)) != 0:
            raise LabFailed(f"The state of the simulated GPUs could not be written to {self._state}.")

    def set(self, gpu: int, field: str, value: str) -> None:
        """Set one field of a GPU, or with GPU -1 of the machine."""
        code = self._call("sim_set", ctypes.c_int(gpu), field.encode(), value.encode())
        self._check(code, f"{field} = {value!r}", gpu)

    def function(self, gpu: int, name: str, what: str, value: int) -> None:
        """Make a function `hang` (ms), `return` a code, or be `not_supported`; the name `*` is all of them."""
        code = self._call("sim_function", ctypes.c_int(gpu), name.encode(), what.encode(), ctypes.c_uint(value))
        self._check(code, f"{what} of {name}", gpu)

    def xid(self, gpu: int, xid: int, pid: int, process: str) -> None:
        """Raise an Xid: event, counter and kernel log."""
        code = self._call("sim_xid", ctypes.c_int(gpu), ctypes.c_uint(xid), ctypes.c_uint(pid), process.encode())
        self._check(code, f"Xid {xid}", gpu)

    def event(self, gpu: int, kind: int, data: int) -> None:
        """Post a plain NVML event."""
        code = self._call("sim_event", ctypes.c_int(gpu), ctypes.c_ulonglong(kind), ctypes.c_ulonglong(data))
        self._check(code, f"event {kind:#x}", gpu)

    def reset(self, gpu: int) -> None:
        """Reset one GPU."""
        self._check(self._call("sim_reset", ctypes.c_int(gpu)), "reset", gpu)

    def show(self) -> str:
        """Everything as one JSON text."""
        with _LOCK:
            text = self._library.sim_show(str(self._state).encode())
            if not text:
                raise LabFailed(f"There is no state of simulated GPUs that this version understands in {self._state}.")
            try:
                return ctypes.string_at(text).decode()
            finally:
                self._library.sim_free(ctypes.c_void_p(text))

    def _call(self, name: str, *arguments: object) -> int:
        with _LOCK:
            return int(getattr(self._library, name)(str(self._state).encode(), *arguments))

    def _check(self, code: int, what: str, gpu: int) -> None:
        if code == 0:
            return
        if code in _REASONS:
            where = f"simulated GPU {gpu}" if gpu >= 0 else "the simulated machine"
            raise BadArgument(f"Could not set {what} on {where}: {_REASONS[code]}.")
        raise LabFailed(f"There is no state of simulated GPUs that this version understands in {self._state}.")
