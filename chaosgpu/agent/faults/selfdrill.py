# SPDX-License-Identifier: Apache-2.0
"""Two faults that harm nobody, for `chaosgpu self-drill`: a text in a file of the drill's own, and a lock on one.

They go the way of every fault. Only an agent with a home of its own takes them, and only for files beside that home;
the host's own agent does not have them, so no policy needs to permit them.
"""

import fcntl
import os
from typing import Any, Dict, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import Forbidden, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, HolderPlan, Restored
from chaosgpu.agent.hold import Gate, LeaseView, Role
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["FAULTS", "ROLES", "FileText", "LockHeld"]

BROKEN = "broken"
_MOST_BYTES = 4096


class _OnFile(Fault[str]):
    """What both have in common: the path of a file of the drill."""

    tier = "T1"
    fidelity = "exact"
    privilege = "user"
    refuses = "an agent without a home of its own; a file that does not lie beside that home"
    traps = "none: it is there to be struck"

    def parse(self, raw: JsonMapping) -> str:
        """Return the path."""
        values.only(raw, self.name, frozenset({"path"}))
        return values.text(raw, "path")

    def check(self, params: str, context: Context) -> None:
        """Refuse a file that is not the drill's."""
        home = context.limited_to_home
        beside = None if home is None else os.path.dirname(home)  # noqa: PTH120 (pathlib costs 9 ms)
        if beside is None or os.path.dirname(os.path.realpath(params)) != os.path.realpath(beside):  # noqa: PTH120 (as above)
            raise Forbidden(
                f"{self.name} works on a file beside an agent home of its own (CHAOSGPU_AGENT_HOME) alone, "
                f"and {params} is none: start it with `chaosgpu self-drill`."
            )
        if not os.path.isfile(params):  # noqa: PTH113 (as above)
            raise Refused(f"There is no file {params}.")


class FileText(_OnFile):
    """Changes the text in a file."""

    name = "selfdrill.file"
    summary = "Changes the text in a file of the drill."
    plane = "state"
    claimed = "the file"

    def check(self, params: str, context: Context) -> None:
        """Refuse a file that is not the drill's."""
        super().check(params, context)
        if _read(params) in (BROKEN, ""):
            raise NoEffect(f"{params} is broken already.")

    def claims(self, params: str, context: Context) -> Tuple[str, ...]:  # noqa: ARG002 (contract)
        """Return what it holds."""
        return (f"file:{params}",)

    def capture(self, params: str, context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Return what is there."""
        return {"text": _read(params)}

    def inject(self, params: str, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Write another text."""
        _write(params, BROKEN)

    def verify(self, params: str, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read it back."""
        found = _read(params)
        if found != BROKEN:
            raise Unverified(f"{params} holds {found!r}, not {BROKEN!r}.")
        return {"text": found}

    def undo(self, params: str, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Write the text back, unless somebody else's is there."""
        if _read(params) in (BROKEN, ""):  # empty: one who was killed between emptying and writing
            _write(params, values.text(prior, "text"))

    def restored(self, params: str, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """Read it back."""
        found = _read(params)
        left = () if found == prior["text"] else (params,)
        by_hand = f"Write {prior['text']!r} into {params}."
        return Restored(found not in (BROKEN, ""), {"text": found}, left, by_hand=by_hand)


class LockHeld(_OnFile):
    """Holds a kernel lock on a file in a process of its own."""

    name = "selfdrill.holder"
    summary = "Holds a lock on a file of the drill."
    plane = "effect"
    claimed = "the lock"

    def check(self, params: str, context: Context) -> None:
        """Refuse a file that is not the drill's."""
        super().check(params, context)
        if _is_locked(params):
            raise NoEffect(f"{params} is locked already.")

    def claims(self, params: str, context: Context) -> Tuple[str, ...]:  # noqa: ARG002 (contract)
        """Return what it holds."""
        return (f"file:{params}", f"lock:{params}")

    def capture(self, params: str, context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Return what is there."""
        return {"path": params}

    def holder(self, params: str, prior: JsonMapping) -> Optional[HolderPlan]:  # noqa: ARG002 (contract)
        """Return the process that holds the lock."""
        return HolderPlan("selfdrill.lock", {"path": params})

    def verify(self, params: str, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read it back."""
        if held is None or not held.alive or held.report.get("locked") != params:
            raise Unverified(f"The holder is {held}.")
        if not _is_locked(params):
            raise Unverified(f"{params} is not locked.")
        return {"pid": held.pid}

    def restored(self, params: str, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """Read it back."""
        gone = (held is None or not held.alive) and not _is_locked(params)
        return Restored(gone, {"locked": not gone}, by_hand=f"End the process that holds the lock on {params}.")


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 (pathlib costs 9 ms)
        return file.read(_MOST_BYTES)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 (as above)
        file.write(text)


def _is_locked(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123 (as above)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock(request: JsonObject, gate: Gate, lease: LeaseView) -> None:
    """Hold the lock until the lease is over."""
    path = values.text(request, "path")
    with open(path, "rb") as file:  # noqa: PTH123 (as above)
        gate.ready({"path": path})
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lease.report({"locked": path})
        while not lease.wait(10.0):
            pass


FAULTS: Dict[str, Fault[Any]] = {fault.name: fault for fault in (FileText(), LockHeld())}
ROLES: Dict[str, Role] = {"selfdrill.lock": _lock}
