# SPDX-License-Identifier: Apache-2.0
"""Two faults that harm nobody, for `chaosgpu self-drill`: a text in a file of the drill's own, and a lock on one.

They go the way of every fault. An agent with a home of its own takes them for files beside that home alone. The host's
own agent has the first one, if its policy permits it, for files in `selfdrill/` of its state root and no others.
"""

import fcntl
import os
import re
from typing import Any, Dict, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import Forbidden, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, HolderPlan, Restored
from chaosgpu.agent.faults.own_folder import open_plain
from chaosgpu.agent.hold import Gate, LeaseView, Role
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["BROKEN", "FAULTS", "FOLDER", "ROLES", "FileText", "LockHeld"]

BROKEN = "broken"
FOLDER = "selfdrill"  # in the state root of the host's own agent
_MOST_BYTES = 4096
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class _OnFile(Fault[str]):
    """What both have in common: the path of a file of the drill."""

    tier = "T1"
    fidelity = "exact"
    traps = "none: it is there to be struck."

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
    """Changes the text in a file. `owner` is whose the folder of the host's own agent must be."""

    name = "selfdrill.file"
    summary = "Changes the text in a file of `chaosgpu self-drill`; it harms nobody."
    plane = "state"
    privilege = "root"
    claimed = "the file"
    refuses = (
        "every file but plain ones in `selfdrill/` of the agent's state root, a folder that must be root's own and "
        "writable for nobody else; with `CHAOSGPU_AGENT_HOME` (where it needs no root) every file that does not lie "
        "beside that home; a file of more than 4096 bytes"
    )

    def __init__(self, owner: int = 0) -> None:
        self._owner = owner

    def check(self, params: str, context: Context) -> None:
        """Refuse a file that is not the drill's."""
        if context.limited_to_home is not None:
            super().check(params, context)
        found = self._raw(params, context)
        if len(found) > _MOST_BYTES:
            raise Refused(f"{params} has more than {_MOST_BYTES} bytes: it is no file of the drill.")
        if _text(found) in (BROKEN, ""):
            raise NoEffect(f"{params} is broken already.")

    def claims(self, params: str, context: Context) -> Tuple[str, ...]:  # noqa: ARG002 (contract)
        """Return what it holds."""
        return (f"file:{params}",)

    def capture(self, params: str, context: Context) -> JsonObject:
        """Return what is there."""
        return {"text": self._read(params, context)}

    def inject(self, params: str, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Write another text."""
        self._write(params, BROKEN, context)

    def verify(self, params: str, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read it back."""
        found = self._read(params, context)
        if found != BROKEN:
            raise Unverified(f"{params} holds {found!r}, not {BROKEN!r}.")
        return {"text": found}

    def undo(self, params: str, prior: JsonMapping, context: Context) -> None:
        """Write the text back, unless somebody else's is there."""
        if self._read(params, context) in (BROKEN, ""):  # empty: one who was killed between emptying and writing
            self._write(params, values.text(prior, "text"), context)

    def restored(self, params: str, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """Read it back."""
        found = self._read(params, context)
        left = () if found == prior["text"] else (params,)
        by_hand = f"Write {prior['text']!r} into {params}."
        return Restored(found not in (BROKEN, ""), {"text": found}, left, by_hand=by_hand)

    def _read(self, path: str, context: Context) -> str:
        return _text(self._raw(path, context))

    def _raw(self, path: str, context: Context) -> bytes:
        with os.fdopen(self._open(path, os.O_RDONLY, context), "rb") as file:
            return file.read(_MOST_BYTES + 1)

    def _write(self, path: str, text: str, context: Context) -> None:
        with os.fdopen(self._open(path, os.O_WRONLY | os.O_TRUNC, context), "wb") as file:
            file.write(text.encode(errors="surrogateescape"))

    def _open(self, path: str, flags: int, context: Context) -> int:
        """Open it; on the host's own agent nothing but a plain file of that folder, which no link leads out of."""
        if context.limited_to_home is not None:
            return os.open(path, flags)
        folder, _, name = path.rpartition("/")  # os.path.split takes two slashes for one: a file has one claim
        if context.lease_dir is None or folder != _folder_of(context.lease_dir) or not _NAME.fullmatch(name):
            raise Forbidden(
                f"{self.name} works on files in `{FOLDER}` of this agent's own state root alone, and {path} is none: "
                "start it with `chaosgpu self-drill`."
            )
        return open_plain(path, flags, self._owner)


class LockHeld(_OnFile):
    """Holds a kernel lock on a file in a process of its own."""

    name = "selfdrill.holder"
    summary = "Holds a lock on a file of the drill."
    plane = "effect"
    privilege = "user"
    claimed = "the lock"
    refuses = "an agent without a home of its own; a file that does not lie beside that home"

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


def _folder_of(lease_dir: str) -> str:
    """Return the drill's folder of the state root that this lease is in."""
    home = os.path.dirname(os.path.dirname(lease_dir))  # noqa: PTH120 (as above)
    return f"{home}/{FOLDER}"


def _text(raw: bytes) -> str:
    """Return what is written back byte by byte, whatever it is."""
    return raw.decode(errors="surrogateescape")


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
