# SPDX-License-Identifier: Apache-2.0
"""What was fetched for a lease lies in `packages/LEASE` under the state root, and goes when the lease is not open.

Who is killed before his undo record is written has nobody who puts back for him: whoever sweeps removes what he had.
"""

import os
from typing import List

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.host import Host
from chaosgpu.agent.lock import Lock
from chaosgpu.agent.record import ENDED

__all__ = ["FOLDER", "fetching", "forget_fetched"]

FOLDER = "packages"
_DATABASE = "dpkg:database"  # what whoever changes packages holds
_WAIT_S = 30.0


def fetching(root: str, wait_s: float = _WAIT_S) -> Lock:
    """Return the lock of a state root under which something is fetched, or removed."""
    busy = f"Package files in {root}/{FOLDER} are fetched or removed by another process since {wait_s:g} s; ask again."
    return Lock(f"{root}/{FOLDER}.lock", SystemClock(), wait_s, busy)


def forget_fetched(host: Host) -> List[str]:
    """Remove what no lease needs any more; return whose it was. While somebody fetches, the next sweep comes by."""
    folder = f"{host.home.path}/{FOLDER}"
    if not os.path.isdir(folder):  # noqa: PTH112 (pathlib costs 9 ms)
        return []
    try:
        with fetching(host.home.path, 0.0):
            return [name for name in os.listdir(folder) if _is_over(host, name) and _remove(f"{folder}/{name}")]  # noqa: PTH208 (as above)
    except (AgentError, OSError):
        return []


def _is_over(host: Host, lease: str) -> bool:
    """Tell whether nobody can need it: what is not known is kept.

    A lease that was armed has given up its package files when it ended; the rest tells how the host was.
    """
    try:
        state = host.folder(lease).seen()
    except AgentError:
        return False
    if state is None:  # its claim outlives a record that somebody has removed
        return not os.path.lexists(host.claims.path(_DATABASE))
    return state.state in ENDED and all(line.get("state") != "armed" for line in state.history)


def _remove(path: str) -> bool:
    import shutil  # noqa: PLC0415 (only where there is something)

    try:
        shutil.rmtree(path)
    except OSError:  # a child that dies with him may still write; a link is nobody's folder
        return False
    return True
