# SPDX-License-Identifier: Apache-2.0
"""The mark of a host that did not come back: facts under a checksum, a file for people, a line at every login.

Any of facts and file alone is enough: a host is quarantined until somebody releases it by name.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import Optional, Tuple

from chaosgpu.agent import typed
from chaosgpu.agent.errors import BadRequest, StoreFailed
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.order import Order
from chaosgpu.agent.store import Damaged, read_document, sync_folder, write_document
from chaosgpu.agent.values import JsonObject

__all__ = ["Mark", "motd_is_there", "read_mark", "remove_mark", "remove_motd", "write_mark", "write_motd"]

_FACTS, _FILE = "quarantine", "QUARANTINE"


@dataclass(frozen=True)
class Mark:
    """Who has quarantined this host after which drill, when, why, and what is different on it."""

    drill: str
    reason: str
    by: str
    at: str
    differences: Tuple[str, ...] = ()

    @classmethod
    def of(cls, order: Order, at: str) -> "Mark":
        """Return the mark that an order asks for."""
        return cls(order.drill, order.reason, order.by, at, order.differences)

    @property
    def halt_reason(self) -> str:
        """Return what the kill switch says while the mark stands."""
        return f"quarantined after the drill {self.drill}: {self.reason}"

    def to_json(self) -> JsonObject:
        """Return it."""
        return {**asdict(self), "differences": list(self.differences)}

    def sentence(self) -> str:
        """Say it in one line."""
        return f"quarantined since {self.at} by {self.by} after the drill {self.drill}: {self.reason}"


def read_mark(desk: Desk) -> Optional[Mark]:
    """Return the mark; None where there is none. A mark that cannot be read is a mark."""
    try:
        found = read_document(desk.folder, _FACTS)
        if found is not None:
            return typed.read(Mark, found)
    except (Damaged, BadRequest) as error:
        return Mark("unknown", f"the facts cannot be trusted: {error}", "unknown", "unknown")
    path = f"{desk.folder}/{_FILE}"
    if not os.path.lexists(path):
        return None
    return Mark("unknown", f"{path} is there, and no facts beside it", "unknown", "unknown")


def write_mark(mark: Mark, desk: Desk) -> None:
    """Write facts and file, durable when this returns; again mends what is missing."""
    if read_document(desk.folder, _FACTS) is None:
        write_document(desk.folder, _FACTS, mark.to_json())
        desk.step("marked")
    if not os.path.lexists(f"{desk.folder}/{_FILE}"):
        _write(desk.folder, _FILE, json.dumps(mark.to_json(), indent=1) + "\n", 0o600)


def remove_mark(desk: Desk) -> None:
    """Remove both, the facts last."""
    for name in (_FILE, _FACTS):
        _remove(f"{desk.folder}/{name}")
        desk.step(f"removed {name}")


def motd_is_there(desk: Desk) -> bool:
    """Tell whether whoever logs in is told."""
    return os.path.lexists(desk.motd)


def write_motd(mark: Mark, desk: Desk) -> Optional[str]:
    """Tell whoever logs in; return why not where that cannot be: the mark stands all the same."""
    lines = [
        f"chaosgpu: THIS HOST IS QUARANTINED since {mark.at}, by {mark.by}.",
        f"It did not come back from the drill {mark.drill}: {mark.reason}",
        *(f"  - {each}" for each in mark.differences),
        "It takes no work and no faults. A named person releases it: `agent.pyz service release`, then `return`.",
    ]
    folder, name = os.path.split(desk.motd)
    try:
        os.makedirs(folder, 0o755, exist_ok=True)  # noqa: PTH103 (pathlib costs 9 ms at start)
        _write(folder, name, "\n".join(lines) + "\n", 0o644)
    except (OSError, StoreFailed) as error:
        return f"{desk.motd} cannot be written ({error}): nobody is told at login"
    desk.step("wrote motd")
    return None


def remove_motd(desk: Desk) -> None:
    """Take the line away."""
    _remove(desk.motd)
    desk.step("removed motd")


def _write(folder: str, name: str, text: str, mode: int) -> None:
    temporary = f"{folder}/.{name}.new"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108 (as above)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, f"{folder}/{name}")  # noqa: PTH104 (as above)
        sync_folder(folder)
    except OSError as error:
        raise StoreFailed(f"{folder}/{name} cannot be written: {error.strerror}.") from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 (as above)
        sync_folder(os.path.dirname(path))  # noqa: PTH120 (as above)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreFailed(f"{path} cannot be removed: {error.strerror}.") from error
