# SPDX-License-Identifier: Apache-2.0
"""A folder of ours with one link in it, to stand first in a unit's search path for libraries.

It lies under /run, which is memory. The library itself stays where it is: a link is found from a file system that
lets nothing be executed, too.
"""

import contextlib
import os
from dataclasses import dataclass
from typing import Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["VARIABLE", "SearchFolder", "folder_for"]

VARIABLE = "LD_LIBRARY_PATH"
RUNTIME = "/run"
_FOR_ALL = 0o755  # a service of any user must find the link


@dataclass(frozen=True)
class SearchFolder:
    """Where it is, and under which name the library's file is found in it."""

    folder: str
    name: str
    target: str

    @classmethod
    def from_json(cls, source: JsonMapping) -> "SearchFolder":
        """Read it back from the lease's record."""
        return cls(*(values.text(source, key) for key in ("folder", "name", "target")))

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {"folder": self.folder, "name": self.name, "target": self.target}

    @property
    def link(self) -> str:
        """Return where the link is."""
        return f"{self.folder}/{self.name}"

    def before(self, path: Optional[str]) -> str:
        """Return a search path with this folder first."""
        return f"{self.folder}:{path}" if path else self.folder

    def make(self) -> None:
        """Make it, for every user to enter; Refused where something that is not ours lies there."""
        os.makedirs(self.folder, mode=_FOR_ALL, exist_ok=True)  # noqa: PTH103 (pathlib costs 9 ms at start)
        os.chmod(self.folder, _FOR_ALL)  # noqa: PTH101 (as above)
        try:
            os.symlink(self.target, self.link)  # noqa: PTH211 (as above)
        except FileExistsError as error:
            if not self._is_ours():
                raise Refused(f"{self.link} is there already and is not ours; nothing was changed.") from error

    def remove(self) -> None:
        """Take away what is ours of it; again is harmless."""
        if self._is_ours():
            os.unlink(self.link)  # noqa: PTH108 (as above)
        with contextlib.suppress(OSError):  # somebody has put something in, or it is gone
            os.rmdir(self.folder)  # noqa: PTH106 (as above)

    def left(self) -> str:
        """Say what of it is still there; empty where nothing is."""
        return f"{self.folder} is still there" if os.path.lexists(self.folder) else ""

    def _is_ours(self) -> bool:
        try:
            return os.readlink(self.link) == self.target  # noqa: PTH115 (as above)
        except OSError:
            return False


def folder_for(name: str, target: str, context: Context) -> SearchFolder:
    """Lay out the folder of this lease."""
    lease = os.path.basename(context.lease_dir or "none")  # noqa: PTH119 (as above)
    return SearchFolder(f"{RUNTIME}/chaosgpu-library-{lease}", name, target)
