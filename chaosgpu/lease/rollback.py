# SPDX-License-Identifier: Apache-2.0
"""The work behind the undo actions and the lease probes."""

from collections.abc import Iterable

from chaosgpu.errors import BadArgument, NotRestored
from chaosgpu.fleet.ask import ask
from chaosgpu.fleet.targets import one_host
from chaosgpu.fleet.values import JsonObject, objects, seconds, text
from chaosgpu.lease.book import Lease
from chaosgpu.lease.run import current_run
from chaosgpu.lease.undo import undo_one, undo_run

__all__ = ["open_leases_of", "undo_everything", "undo_lease"]

_ENDED = frozenset({"clean", "tombstone"})
_SHOWN = ("lease", "run", "fault", "state", "claims", "expires_in_s", "reason")


def undo_everything(hosts: str, timeout_s: float) -> JsonObject:
    """Undo the run on a host; from here on no fault is put in any more."""
    run = current_run()
    host = one_host(hosts)
    deadline_s = seconds("timeout_s", timeout_s)
    run.close()
    leases = undo_run(run, host, deadline_s, "rollback")
    _refuse_open(leases)
    return {
        "host": host,
        "leases": [_shown(lease) for lease in leases if lease.state in ("clean", "never")],
    }


def undo_lease(name: str, timeout_s: float) -> JsonObject:
    """Undo one lease of this run."""
    run = current_run()
    lease = run.book.get(name)
    if lease is None:
        known = ", ".join(known.lease for known in run.book.all()) or "none"
        raise BadArgument(f"{name!r} is no lease of this run; its leases are: {known}.")
    after = undo_one(run, lease, seconds("timeout_s", timeout_s), "action")
    _refuse_open([after])
    return {"host": after.host, **_shown(after)}


def open_leases_of(hosts: str, timeout_s: float) -> list[JsonObject]:
    """Ask a host for its open leases."""
    answer = ask(one_host(hosts), "list", {}, timeout_s)
    return [
        {key: lease.get(key) for key in _SHOWN}
        for lease in objects(answer, "leases")
        if text(lease, "state") not in _ENDED
    ]


def _shown(lease: Lease) -> JsonObject:
    return {"lease": lease.lease, "fault": lease.fault, "state": lease.state, "restored": lease.restored}


def _refuse_open(leases: Iterable[Lease]) -> None:
    """Raise NotRestored for every lease of which something may be left."""
    left = [lease for lease in leases if lease.open]
    if left:
        told = "; ".join(
            f"{lease.fault} ({lease.lease}) is {lease.state}: {lease.reason or 'no reason'}" for lease in left
        )
        raise NotRestored(
            f"{left[0].host}: not everything was put back. {told}. Do by hand what `chaosgpu leases` says."
        )
