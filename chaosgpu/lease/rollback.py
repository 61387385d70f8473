# SPDX-License-Identifier: Apache-2.0
"""The work behind the undo actions and the lease probes."""

from collections.abc import Iterable

from chaosgpu.errors import BadArgument, ChaosGpuError, NotRestored, Unreachable
from chaosgpu.fleet.everywhere import ask_everywhere, told
from chaosgpu.fleet.targets import chosen
from chaosgpu.fleet.values import JsonObject, objects, seconds, text
from chaosgpu.lease.book import Lease
from chaosgpu.lease.hosts import recorded
from chaosgpu.lease.run import current_run
from chaosgpu.lease.undo import undo_one, undo_run

__all__ = ["open_leases_of", "undo_everything", "undo_lease"]

_ENDED = frozenset({"clean", "tombstone"})
_SHOWN = ("lease", "run", "fault", "state", "claims", "expires_in_s", "reason")


def undo_everything(hosts: str | None, timeout_s: float) -> JsonObject:
    """Undo the run on its hosts; from here on no fault is put in any more."""
    run = current_run()
    there = recorded(run, hosts)
    deadline_s = seconds("timeout_s", timeout_s)
    run.close()
    try:
        leases = undo_run(run, there, deadline_s, "rollback")
    finally:
        left = () if hosts is not None else run.put_back("rollback", rollbacks_alone=True).not_restored
    _refuse_open(leases)
    if left:
        raise NotRestored(f"Not everything was put back. {'; '.join(left)}.")
    where: JsonObject = {"host": there[0]} if len(there) == 1 else {"hosts": [*there]}
    return {**where, "leases": [_shown(lease) for lease in leases if lease.state in ("clean", "never")]}


def undo_lease(name: str, timeout_s: float) -> JsonObject:
    """Undo one lease of this run."""
    run = current_run()
    lease = run.book.get(name)
    if lease is None:
        known = ", ".join(known.lease for known in run.book.all()) or "none"
        raise BadArgument(f"{name!r} is no lease of this run; its leases are: {known}.")
    after = undo_one(run, lease, seconds("timeout_s", timeout_s), "action")
    _refuse_open([after])
    return _shown(after)


def open_leases_of(hosts: str, timeout_s: float) -> list[JsonObject]:
    """Ask hosts for their open leases; one that cannot say makes the whole answer unknown."""
    there = [host for names in chosen([hosts]).values() for host in names]
    answers = ask_everywhere(there, "list", {}, timeout_s)
    failed = [answer for answer in answers.values() if isinstance(answer, ChaosGpuError)]
    if failed:
        raise (
            failed[0] if len(answers) == 1 else Unreachable(f"Not every host could say what it holds: {told(answers)}")
        )
    return [
        {"host": host, **{key: lease.get(key) for key in _SHOWN}}
        for host, answer in answers.items()
        for lease in ([] if isinstance(answer, ChaosGpuError) else objects(answer, "leases"))
        if text(lease, "state") not in _ENDED
    ]


def _shown(lease: Lease) -> JsonObject:
    return {
        "host": lease.host,
        "lease": lease.lease,
        "fault": lease.fault,
        "state": lease.state,
        "restored": lease.restored,
    }


def _refuse_open(leases: Iterable[Lease]) -> None:
    """Raise NotRestored for every lease of which something may be left."""
    left = [lease for lease in leases if lease.open]
    if left:
        named = "; ".join(
            f"{lease.host}: {lease.fault} ({lease.lease}) is {lease.state}: {lease.reason or 'no reason'}"
            for lease in left
        )
        raise NotRestored(f"Not everything was put back. {named}. Do by hand what `chaosgpu leases` says.")
