# SPDX-License-Identifier: Apache-2.0
"""Where the agent keeps its state, and which folder belongs to which lease."""

import os
import re
from dataclasses import dataclass
from typing import List, Mapping

from chaosgpu.agent.errors import BadRequest, StoreFailed
from chaosgpu.agent.store import sync_folder

__all__ = ["Home", "find_home"]

_SYSTEM = "/var/lib/chaosgpu"
_LEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Home:
    """The state root; `limited` where CHAOSGPU_AGENT_HOME named it: then only simulated GPUs may be touched."""

    path: str
    limited: bool

    @property
    def leases(self) -> str:
        """The folder with one folder a lease."""
        return f"{self.path}/leases"

    @property
    def halt(self) -> str:
        """The latch of this home."""
        return f"{self.path}/HALT"

    def folder(self, lease: str) -> str:
        """Return a lease's folder; BadRequest where the id could lead elsewhere."""
        if not _LEASE_ID.fullmatch(lease):
            raise BadRequest(f"A lease id has up to 100 letters, digits, '.', '_' and '-', not {lease!r}.")
        return f"{self.leases}/{lease}"

    def lease_ids(self) -> List[str]:
        """Return every lease that has a folder, the oldest id first."""
        try:
            return sorted(name for name in os.listdir(self.leases) if _LEASE_ID.fullmatch(name))  # noqa: PTH208 (pathlib costs 9 ms)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreFailed(f"The leases in {self.leases} cannot be listed: {error.strerror}.") from error

    def make_folder(self, lease: str) -> str:
        """Make a lease's folder, and those above it, durable; nobody else may look inside."""
        path = self.folder(lease)
        try:
            if not os.path.isdir(self.leases):  # noqa: PTH112 (pathlib costs 9 ms at start)
                os.makedirs(self.leases, mode=0o700, exist_ok=True)  # noqa: PTH103 (as above)
                sync_folder(self.path)
            try:
                os.mkdir(path, 0o700)  # noqa: PTH102 (as above)
            except FileExistsError:
                return path
            sync_folder(self.leases)
        except OSError as error:
            raise StoreFailed(f"{path} cannot be made: {error.strerror}. No lease can be kept here.") from error
        return path


def find_home(environment: Mapping[str, str], user_id: int) -> Home:
    """Return the state root: CHAOSGPU_AGENT_HOME, else /var/lib for root, else the user's own state folder."""
    named = environment.get("CHAOSGPU_AGENT_HOME")
    if named is not None:
        if not os.path.isabs(named):  # noqa: PTH117 (pathlib costs 9 ms at start)
            raise BadRequest(f"CHAOSGPU_AGENT_HOME must be an absolute path, not {named!r}.")
        return Home(named.rstrip("/") or "/", limited=True)
    if user_id == 0:
        return Home(_SYSTEM, limited=False)
    state = environment.get("XDG_STATE_HOME") or os.path.join(  # noqa: PTH118 (as above)
        environment.get("HOME", "/nonexistent"), ".local", "state"
    )
    return Home(f"{state}/chaosgpu", limited=False)
