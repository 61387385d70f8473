# SPDX-License-Identifier: Apache-2.0
"""A runtime drop-in of ours: made whole and never over another, removed only if byte for byte ours.

It lies under /run, which is memory: it does not survive a reboot, and nothing of it has to be synced. Name and first
line carry our tag and the lease's id, and its path and text are in the undo record before it exists.
"""

import os
from dataclasses import dataclass, replace
from typing import Optional, Sequence

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused, StoreFailed
from chaosgpu.agent.faults.contract import Context, Restored
from chaosgpu.agent.faults.unit_state import look_at, pending_edits
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["DropIn", "drop_in_for", "refuse_pending_edits"]

RUNTIME = "/run/systemd/system"
_NEW = ".new"


@dataclass(frozen=True)
class DropIn:
    """Where it is and what is in it."""

    unit: str
    path: str
    text: str

    @classmethod
    def from_json(cls, source: JsonMapping) -> "DropIn":
        """Read it back from the lease's record."""
        return cls(*(values.text(source, key) for key in ("unit", "path", "text")))

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {"unit": self.unit, "path": self.path, "text": self.text}

    def put(self, systemd: Systemd) -> None:
        """Write it and have systemd read it; Refused where something lies at its path."""
        folder = os.path.dirname(self.path)  # noqa: PTH120 (pathlib costs 9 ms at start)
        try:
            os.makedirs(folder, 0o755, exist_ok=True)  # noqa: PTH103 (as above)
            _unlink(self.path + _NEW)  # of one who was killed while he wrote it
            descriptor = os.open(self.path + _NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.text.encode())
            os.link(self.path + _NEW, self.path)
            _unlink(self.path + _NEW)
        except FileExistsError as error:
            raise Refused(
                f"{self.path} is there already and is not ours to write over; nothing was changed."
            ) from error
        except OSError as error:
            raise StoreFailed(f"The drop-in {self.path} cannot be written: {error.strerror}.") from error
        systemd.reload()

    def take_away(self, systemd: Systemd) -> None:
        """Remove it if it is ours to the last byte, and have systemd forget it; again is harmless."""
        try:
            _unlink(self.path + _NEW)
            if self.found() == self.text:
                _unlink(self.path)
            self._remove_empty_folder()
        except OSError as error:
            raise StoreFailed(f"The drop-in {self.path} cannot be removed: {error.strerror}.") from error
        if self.found() is None and self.in_force(systemd):
            systemd.reload()

    def in_force(self, systemd: Systemd) -> bool:
        """Tell whether systemd has read it, also where the file is gone since."""
        return self.path in look_at(systemd, self.unit).words("DropInPaths")

    def found(self) -> Optional[str]:
        """Return what lies at its path; None where nothing does."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:  # a link, a folder: somebody else's
            return f"(unreadable: {error.strerror})"
        with os.fdopen(descriptor, "rb") as file:
            return file.read(65536).decode(errors="replace")

    def changed_by_somebody(self) -> bool:
        """Tell whether something lies at its path that is not what we wrote."""
        return self.found() not in (None, self.text)

    def judged(self, settled: Restored, systemd: Systemd, wrong: str) -> Restored:
        """Return how the undo of a fault by this drop-in ended; `wrong` says what of its effect is still seen."""
        if self.changed_by_somebody():
            said = f"{self.path} was changed by somebody meanwhile; it was not removed"
            settled = replace(settled, left_alone=(*settled.left_alone, said))
            wrong = wrong and f"{wrong}: see {self.path}, which somebody has changed, then `systemctl daemon-reload`."
        elif self.found() is not None or self.in_force(systemd):
            wrong = f"{self.path} is still in force: remove it, then `systemctl daemon-reload`."
        elif wrong:
            wrong = f"{wrong}, though {self.path} is gone: see `systemctl cat {self.unit}`."
        if not wrong:
            return settled
        return replace(settled, clean=False, by_hand=" ".join(filter(None, (settled.by_hand, wrong))))

    def _remove_empty_folder(self) -> None:
        try:
            os.rmdir(os.path.dirname(self.path))  # noqa: PTH106, PTH120 (pathlib costs 9 ms at start)
        except OSError:
            return  # others' drop-ins are in it, or it is gone


def drop_in_for(unit: str, fault: str, lines: Sequence[str], context: Context) -> DropIn:
    """Lay out the drop-in of this lease for a unit; its name sorts after all others, so its settings count."""
    lease = os.path.basename(context.lease_dir or "none")  # noqa: PTH119 (as above)
    tag = f"# chaosgpu lease {lease}: {fault}. Its undo removes this file; do not edit it."
    path = f"{RUNTIME}/{unit}.d/zz-chaosgpu-{lease}.conf"
    return DropIn(unit, path, "\n".join((tag, *lines)) + "\n")


def refuse_pending_edits(systemd: Systemd) -> None:
    """Refuse where somebody has edited units and not reloaded: our daemon-reload would put those edits in force."""
    edited = pending_edits(systemd)
    if edited:
        raise Refused(
            f"Unit files were changed on this host and not loaded yet ({', '.join(edited[:5])}), and this fault needs "
            "a daemon-reload, which would put those changes in force. Run `systemctl daemon-reload` first, or take "
            "them back; nothing was touched."
        )


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 (pathlib costs 9 ms at start)
    except FileNotFoundError:
        return
