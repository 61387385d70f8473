# SPDX-License-Identifier: Apache-2.0
"""What keeps a unit down over reboots, timers and hands: a drop-in whose assertion fails for as long as it is there.

A mask will not do: systemd masks nothing that has its own file in /etc, which is where sites have theirs, and a start
that is refused by an assertion says which file refuses it. Removing the file is enough to start the unit again.
"""

import contextlib
import os
from dataclasses import dataclass
from typing import Optional

from chaosgpu.agent.errors import Refused, StoreFailed
from chaosgpu.agent.store import sync_folder

__all__ = ["Gate"]

_NAME = "50-chaosgpu-drained.conf"


@dataclass(frozen=True)
class Gate:
    """The drop-in of one drill on one unit."""

    unit: str
    drill: str
    units: str  # the folder of units

    @property
    def folder(self) -> str:
        """Return the folder of the unit's drop-ins."""
        return f"{self.units}/{self.unit}.d"

    @property
    def path(self) -> str:
        """Return where it lies."""
        return f"{self.folder}/{_NAME}"

    @property
    def text(self) -> str:
        """Return what is in it."""
        return (
            f"# Taken out of service by chaosgpu for the drill {self.drill}; its return removes this file.\n"
            "# By hand: remove it, then `systemctl daemon-reload`. See /var/lib/chaosgpu/service and docs/service.md.\n"
            f"[Unit]\nAssertPathExists=!{self.path}\n"
        )

    def found(self) -> Optional[str]:
        """Return what lies there; None where nothing does."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:  # a link, a folder: somebody else's
            return f"(unreadable: {error.strerror})"
        with os.fdopen(descriptor, "rb") as file:
            return file.read(65536).decode(errors="replace")

    @property
    def shut(self) -> bool:
        """Tell whether it is there as we wrote it."""
        return self.found() == self.text

    @property
    def changed(self) -> bool:
        """Tell whether something else lies there."""
        return self.found() not in (None, self.text)

    def close(self) -> None:
        """Write it, durable when this returns, and never over another's."""
        if self.changed:
            raise Refused(f"{self.path} is there and is not what this drill would write: see who wrote it.")
        temporary = f"{self.folder}/.{_NAME}.new"
        try:
            os.makedirs(self.folder, 0o755, exist_ok=True)  # noqa: PTH103 (pathlib costs 9 ms at start)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.text.encode())
                file.flush()
                os.fsync(descriptor)
            os.rename(temporary, self.path)  # noqa: PTH104 (as above)
            for folder in (self.folder, self.units):
                sync_folder(folder)
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}.") from error

    def open(self) -> None:
        """Remove it if it is ours, and the folder if nothing else is in it; again is harmless."""
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.folder}/.{_NAME}.new")  # noqa: PTH108 (as above); of one who was killed
            if self.shut:
                os.unlink(self.path)  # noqa: PTH108 (as above)
                sync_folder(self.folder)
            with contextlib.suppress(OSError):  # others' drop-ins are in it, or it is gone
                os.rmdir(self.folder)  # noqa: PTH106 (as above)
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be removed: {error.strerror}.") from error
