# SPDX-License-Identifier: Apache-2.0
"""What can be made to go wrong on simulated GPUs: one small function for each word."""

import json
from collections.abc import Callable, Mapping

from chaosgpu.sim.native import Native

__all__ = ["INJECTIONS"]

_RECOVERY_ACTION_EVENT = 0x8000
_IGNORED = 0xFFFF  # IGNORED in src/layout.h


def _xid(native: Native, gpu: int, *, xid: int, pid: int = 0, process: str = "") -> None:
    native.xid(gpu, xid, pid, process)


def _lost(native: Native, gpu: int) -> None:
    native.set(gpu, "lost", "1")
    native.xid(gpu, 79, 0, "")


def _reset(native: Native, gpu: int) -> None:
    native.reset(gpu)


def _event(native: Native, gpu: int, *, kind: int, data: int = 0) -> None:
    native.event(gpu, kind, data)


def _recovery_action(native: Native, gpu: int, *, action: int) -> None:
    native.set(gpu, "recovery_action", str(action))
    native.event(gpu, _RECOVERY_ACTION_EVENT, action)


def _hang(native: Native, _gpu: int, *, function: str = "*", hang_s: float = 3600) -> None:
    native.function(-1, function, "hang", round(hang_s * 1000))


def _return(native: Native, gpu: int, *, function: str, code: int) -> None:
    native.function(gpu, function, "return", code)


def _ignore(native: Native, gpu: int, *, function: str) -> None:
    native.function(gpu, function, "return", _IGNORED)


def _driver_unloaded(native: Native, _gpu: int) -> None:
    native.set(-1, "driver_loaded", "0")


def _driver_loaded(native: Native, _gpu: int) -> None:
    library_version = json.loads(native.show())["system"]["identity"]["driver_version"]
    native.set(-1, "kernel_driver_version", library_version)
    native.set(-1, "driver_loaded", "1")


def _version_mismatch(native: Native, _gpu: int, *, version: str = "570.86.15") -> None:
    native.set(-1, "kernel_driver_version", version)


INJECTIONS: Mapping[str, Callable[..., None]] = {
    "xid": _xid,
    "lost": _lost,
    "reset": _reset,
    "event": _event,
    "recovery_action": _recovery_action,
    "hang": _hang,
    "return": _return,
    "ignore": _ignore,
    "driver_unloaded": _driver_unloaded,
    "driver_loaded": _driver_loaded,
    "version_mismatch": _version_mismatch,
}
