# SPDX-License-Identifier: Apache-2.0
"""Two real faults on files, so that the lease machine is tested without a GPU: a setting, and a holder of a lock."""

import errno
import fcntl
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.agent import values
from chaosgpu.agent.errors import AgentError, DriverFailed, DriverHung, DriverStuck, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, HolderPlan, Restored
from chaosgpu.agent.hold import Gate, LeaseView
from chaosgpu.agent.values import JsonMapping, JsonObject

BREAKS: dict[str, AgentError | ValueError | OSError] = {
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "fail": DriverFailed("The test's driver says no."),
    "slow": DriverHung("The test's driver did not come back in time."),
    "hang": DriverStuck("The test's driver did not come back."),
    "mistake": ValueError("a mistake in the fault"),
    "unverified": Unverified("The test's fault cannot be seen."),
    "refuse": Refused("The test's fault refuses."),
}


@dataclass(frozen=True)
class FileParams:
    """`breaks` names the step that shall fail and how, such as "undo:fail"; `until` ends that by existing."""

    path: Path
    value: str
    breaks: str
    until: str


def _parse(raw: JsonMapping) -> FileParams:
    values.only(raw, "the test's fault", frozenset({"path", "value", "breaks", "until"}))
    value = values.optional_text(raw, "value") or "broken"
    breaks, until = values.optional_text(raw, "breaks") or "", values.optional_text(raw, "until") or ""
    return FileParams(Path(values.text(raw, "path")), value, breaks, until)


def _break(params: FileParams, step: str) -> None:
    if params.until and Path(params.until).exists():
        return
    where, _, how = params.breaks.partition(":")
    if where == step and how in BREAKS:
        raise BREAKS[how]
    if where == step and how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


class FileSet(Fault[FileParams]):
    """Changes the text in a file."""

    name = "test.file.set"
    summary = "Changes the text in a file."
    plane = "state"
    tier = "T1"
    fidelity = "exact"
    privilege = "user"

    def parse(self, raw: JsonMapping) -> FileParams:
        return _parse(raw)

    def check(self, params: FileParams, context: Context) -> None:  # noqa: ARG002 (contract)
        _break(params, "check")
        if not params.path.exists():
            raise Refused(f"There is no file {params.path}.")
        if params.path.read_text() == params.value:
            raise NoEffect(f"{params.path} holds {params.value} already.")

    def claims(self, params: FileParams, context: Context) -> tuple[str, ...]:  # noqa: ARG002 (contract)
        return (f"file:{params.path}",)

    def capture(self, params: FileParams, context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        _break(params, "capture")
        return {"text": params.path.read_text()}

    def inject(self, params: FileParams, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        _break(params, "inject")
        params.path.write_text(params.value)

    def verify(self, params: FileParams, prior: JsonMapping, held: Held | None, context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        _break(params, "verify")
        found = params.path.read_text()
        if found != params.value:
            raise Unverified(f"{params.path} holds {found}, not {params.value}.")
        return {"text": found}

    def undo(self, params: FileParams, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        _break(params, "undo")
        if params.path.read_text() in (params.value, ""):
            params.path.write_text(str(prior["text"]))

    def restored(self, params: FileParams, prior: JsonMapping, held: Held | None, context: Context) -> Restored:  # noqa: ARG002 (contract)
        _break(params, "restored")
        found = params.path.read_text()
        left = () if found == prior["text"] else (str(params.path),)
        return Restored(found != params.value, {"text": found}, left, by_hand=f"Write {prior['text']} into the file.")


class LockHold(Fault[FileParams]):
    """Holds a kernel lock on a file in a process of its own."""

    name = "test.lock.hold"
    summary = "Holds a lock on a file."
    plane = "effect"
    tier = "T1"
    fidelity = "exact"
    privilege = "user"

    def parse(self, raw: JsonMapping) -> FileParams:
        return _parse(raw)

    def check(self, params: FileParams, context: Context) -> None:  # noqa: ARG002 (contract)
        if is_locked(params.path):
            raise NoEffect(f"{params.path} is locked already.")

    def claims(self, params: FileParams, context: Context) -> tuple[str, ...]:  # noqa: ARG002 (contract)
        return (f"lock:{params.path}", f"alock:{params.path}")

    def capture(self, params: FileParams, context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        return {"path": str(params.path)}

    def holder(self, params: FileParams, prior: JsonMapping) -> HolderPlan | None:  # noqa: ARG002 (contract)
        return HolderPlan(
            "nobody" if params.breaks == "role" else "lock", {"path": str(params.path), "breaks": params.breaks}
        )

    def verify(self, params: FileParams, prior: JsonMapping, held: Held | None, context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        if held is None or not held.alive or held.report.get("locked") != str(params.path):
            raise Unverified(f"The holder is {held}.")
        if not is_locked(params.path):
            raise Unverified(f"{params.path} is not locked.")
        return {"pid": held.pid}

    def restored(self, params: FileParams, prior: JsonMapping, held: Held | None, context: Context) -> Restored:  # noqa: ARG002 (contract)
        gone = (held is None or not held.alive) and not is_locked(params.path)
        return Restored(gone, {"locked": not gone}, by_hand="End the process that holds the lock.")


def is_locked(path: Path) -> bool:
    """Tell whether some process holds the lock."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def lock_role(request: JsonObject, gate: Gate, lease: LeaseView) -> None:
    """Hold the lock until the lease is over."""
    path = Path(str(request["path"]))
    breaks = request["breaks"]
    if breaks == "prepare:refuse":
        raise NoEffect("The holder sees no sense in it.")
    if breaks == "prepare:die":
        os._exit(3)
    if breaks == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with path.open("rb") as file:
        gate.ready({"path": str(path)})
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lease.report({"locked": str(path)})
        if breaks == "leave":
            lease.wait(0.3)
            return
        while breaks == "blind" or not lease.wait(10.0):
            signal.pause()


FAULTS: dict[str, Fault[FileParams]] = {fault.name: fault for fault in (FileSet(), LockHold())}
ROLES = {"lock": lock_role}
