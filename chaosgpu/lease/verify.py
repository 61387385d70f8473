# SPDX-License-Identifier: Apache-2.0
"""Look again whether every fault of the run is still in force: a slow controller must not judge a run without one."""

from collections.abc import Iterable
from dataclasses import dataclass

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.values import JsonObject, objects, optional_text, text
from chaosgpu.lease.book import Lease
from chaosgpu.lease.lines import ended_how
from chaosgpu.lease.run import Run

__all__ = ["Look", "look", "still_in_force"]


@dataclass(frozen=True)
class Look:
    """What a host said without being asked to verify: leases that have ended, and who halted it."""

    missing: tuple[Lease, ...]
    halted: str | None


def look(run: Run, hosts: Iterable[str], timeout_s: float) -> Look:
    """Ask hosts how the leases of the run stand; a host that gives no answer twice has none in force."""
    missing: list[Lease] = []
    halted = None
    # A lease that comes into force while a host answers is armed in that answer, or not in it at all.
    meant = {lease.lease for lease in _expected(run)}
    for host, answer in _asked_twice(run, hosts, timeout_s).items():
        there = [lease for lease in _expected(run) if lease.host == host and lease.lease in meant]
        try:
            if isinstance(answer, ChaosGpuError):
                raise answer
            missing += _missing(run, there, objects(answer, "leases"), verify=False)
            halted = halted or _halted(host, answer)
        except ChaosGpuError as error:
            missing += [_mark(run, lease, f"it could not be asked for: {error}") for lease in there]
    run.looked_s = run.names.monotonic()
    return Look(tuple(missing), halted)


def _asked_twice(run: Run, hosts: Iterable[str], timeout_s: float) -> dict[str, JsonObject | ChaosGpuError]:
    """Ask again after a failure: one process that could not be started must not end a drill."""
    found = ask_everywhere(hosts, "list", {"run": run.id}, timeout_s)
    failed = [host for host, answer in found.items() if isinstance(answer, ChaosGpuError)]
    return found | ask_everywhere(failed, "list", {"run": run.id}, timeout_s)


def _halted(host: str, answer: JsonObject) -> str | None:
    """Say who halted a host and why."""
    by = answer.get("halted")
    return f"{host} was halted by {by.get('by')}: {by.get('reason')}" if isinstance(by, dict) else None


def _expected(run: Run) -> list[Lease]:
    return [lease for lease in run.book.all() if lease.in_force and lease.ended_early is None]


def still_in_force(run: Run, timeout_s: float) -> list[Lease]:
    """Verify each lease that should be in force and return those that are not; they are marked `ended_early`."""
    expected = _expected(run)
    missing: list[Lease] = []
    hosts = {lease.host for lease in expected}
    run.looked_s = run.names.monotonic()  # nobody needs to look meanwhile
    for host, answer in ask_everywhere(hosts, "list", {"run": run.id, "verify": True}, timeout_s).items():
        there = [lease for lease in expected if lease.host == host]
        try:
            if isinstance(answer, ChaosGpuError):
                raise answer
            missing += _missing(run, there, objects(answer, "leases"), verify=True)
        except ChaosGpuError as error:
            missing += [_mark(run, lease, f"it could not be verified again: {error}") for lease in there]
    run.looked_s = run.names.monotonic()
    return missing


def _missing(run: Run, leases: Iterable[Lease], said: Iterable[JsonObject], *, verify: bool) -> list[Lease]:
    """Compare what we count on with what the host verified."""
    by_name = {text(entry, "lease"): entry for entry in said}
    found: list[Lease] = []
    for lease in leases:
        now = run.book.get(lease.lease)
        if now is None or not now.in_force:
            continue  # its undo was asked for while the host answered
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
