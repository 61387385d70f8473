# SPDX-License-Identifier: Apache-2.0
"""Look again whether every fault of the run is still in force: a slow controller must not judge a run without one."""

from collections.abc import Iterable

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import ask
from chaosgpu.fleet.values import JsonObject, objects, optional_text, text
from chaosgpu.lease.book import Lease
from chaosgpu.lease.lines import ended_how
from chaosgpu.lease.run import Run

__all__ = ["still_in_force"]


def still_in_force(run: Run, timeout_s: float, *, verify: bool = True) -> list[Lease]:
    """Verify each lease that should be in force and return those that are not; they are marked `ended_early`.

    Without `verify` the host is only asked for the state of each, which costs it no driver call.
    """
    expected = [lease for lease in run.book.all() if lease.in_force and lease.ended_early is None]
    missing: list[Lease] = []
    for host in sorted({lease.host for lease in expected}):
        there = [lease for lease in expected if lease.host == host]
        try:
            said = objects(ask(host, "list", {"run": run.id, "verify": verify}, timeout_s), "leases")
            missing += _missing(run, there, said, verify=verify)
        except ChaosGpuError as error:
            missing += [_mark(run, lease, f"it could not be verified again: {error}") for lease in there]
    return missing


def _missing(run: Run, leases: Iterable[Lease], said: Iterable[JsonObject], *, verify: bool) -> list[Lease]:
    """Compare what we count on with what the host verified."""
    by_name = {text(entry, "lease"): entry for entry in said}
    found: list[Lease] = []
    for lease in leases:
        entry = by_name.get(lease.lease)
        why = _why_not(entry, verify=verify)
        if why is not None:
            found.append(_mark(run, lease, why))
        elif verify and entry is not None:
            seen = entry.get("observed")
            run.note("lease.active", lease=lease.lease, host=lease.host, fault=lease.fault, observed=seen, again=True)
    return found


def _why_not(entry: JsonObject | None, *, verify: bool) -> str | None:
    """Say why a lease is not in force; None if it is. Unknown is not in force."""
    if entry is None:
        return "the host does not know it"
    state, reason = text(entry, "state"), optional_text(entry, "reason")
    because = f": {reason}" if reason else ""
    if state != "active":
        ended_by = optional_text(entry, "ended_by")
        return f"{ended_how(ended_by) if ended_by else f'it is {state}'}{because}"
    if not verify or entry.get("verified") is True:
        return None
    seen = "its effect is gone" if entry.get("verified") is False else "its effect could not be seen again"
    return f"{seen}{because}"


def _mark(run: Run, lease: Lease, why: str) -> Lease:
    """Note it in the ledger and in the book."""
    run.note("fault.unverified", lease=lease.lease, host=lease.host, fault=lease.fault, reason=why)
    return run.book.change(lease.lease, ended_early=why)
