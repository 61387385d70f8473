# SPDX-License-Identifier: Apache-2.0
"""Records of leases that ended long ago go, so that a host that is drilled every day does not fill up.

A record is what refuses its id when it comes again, so it stays at least a day; and no wall clock decides: a day is a
day of this start of the host. Open, stuck and damaged ones stay for ever.
"""

import contextlib
import os
from typing import List, Tuple

from chaosgpu.agent.claims import Owner
from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.fetched import forget_fetched
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.record import ENDED, State
from chaosgpu.agent.store import sync_folder

__all__ = ["KEEP_ALL_S", "KEEP_AT_MOST_S", "KEEP_NEWEST", "prune"]

KEEP_ALL_S = 86400.0
KEEP_AT_MOST_S = 30 * 86400.0
KEEP_NEWEST = 1000
_GOING = ".going-"  # no lease id begins with a dot


def prune(host: Host) -> List[str]:
    """Remove the records of leases that ended a month ago, or a day ago and a thousand leases ago; return their ids.

    What was fetched for a lease that is over goes, too.
    """
    _finish(host)
    ended: List[Tuple[float, str]] = []
    for lease in host.home.lease_ids():
        folder = host.folder(lease)
        state = folder.seen()
        if state is None:
            _tidy(folder)
        elif state.state in ENDED:
            ended.append((_age_s(host, state), lease))
    ended.sort()
    old = [
        lease
        for place, (age_s, lease) in enumerate(ended)
        if age_s >= KEEP_AT_MOST_S or (age_s >= KEEP_ALL_S and place >= KEEP_NEWEST)
    ]
    gone = [lease for lease in old if _remove(host, lease)]
    forget_fetched(host)
    return gone


def _age_s(host: Host, ended: State) -> float:
    """Return how long ago it ended, at least: one of an earlier start of the host, before this start."""
    now_s = host.clock.boottime_s()
    if ended.boot != host.boot or not ended.history:
        return now_s
    stamp = ended.history[-1].get("boottime_s")
    return now_s - stamp if isinstance(stamp, float) else 0.0


def _remove(host: Host, lease: str) -> bool:
    """Remove one record: out of sight in one step that is durable, then file by file."""
    folder = host.folder(lease)
    try:
        with folder.lock(0.0):
            state = folder.seen()
            if state is None or state.state not in ENDED or folder.kept():
                return False
            owner = Owner(host.home.path, lease)
            host.claims.release(state.claims, owner)
            if host.claims.any_of(state.claims, owner):
                return False  # without its record a claim would be held for ever
            os.rename(folder.path, f"{host.home.leases}/{_GOING}{lease}")  # noqa: PTH104 (pathlib costs 9 ms)
            sync_folder(host.home.leases)
    except (AgentError, OSError):
        return False  # somebody is at it: the next sweep comes by
    _finish(host)
    return True


def _finish(host: Host) -> None:
    """Remove what is out of sight, also what one who was killed left there."""
    with contextlib.suppress(OSError):  # a disk that is broken keeps it, and nobody looks at it
        for name in os.listdir(host.home.leases):  # noqa: PTH208 (as above)
            going = f"{host.home.leases}/{name}"
            if name.startswith(_GOING):
                for file in os.listdir(going):  # noqa: PTH208 (as above)
                    os.unlink(f"{going}/{file}")  # noqa: PTH108 (as above)
                os.rmdir(going)  # noqa: PTH106 (as above)


def _tidy(folder: LeaseFolder) -> None:
    """Remove what one who was killed before the first state had begun to write."""
    with contextlib.suppress(AgentError), folder.lock(0.0):
        if folder.seen() is None:
            folder.tidy()
