# SPDX-License-Identifier: Apache-2.0
"""Undo the leases of a run: idempotent, from any thread, and never stopped by a record that cannot be written."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import ask
from chaosgpu.fleet.values import JsonObject, JsonValue, objects, optional_text, text, whole_object
from chaosgpu.lease.book import Lease
from chaosgpu.lease.lines import ended_how, undo_line
from chaosgpu.lease.renewed import last_renewal
from chaosgpu.lease.run import Run

__all__ = ["undo_leases", "undo_one", "undo_run"]

logger = logging.getLogger("chaostoolkit")

# What may end a lease without the experiment being spoilt; a lease that was not verified is counted as such.
_ON_PURPOSE = frozenset({"undo", "unverified"})
_RECORD_S = 10.0


def undo_run(run: Run, host: str, timeout_s: float, by: str) -> list[Lease]:
    """Undo everything of this run on a host; return its leases as they are now.

    Leases whose apply was sent and never answered are named one by one, so that a late apply finds its tombstone.
    Raises Unreachable or AgentFailed if the host could not be asked: then nothing is known to be restored.
    """
    expected = [lease for lease in run.book.open() if lease.host == host]
    _intend(run, expected, by)
    answer = ask(host, "undo", {"run": run.id}, timeout_s)
    named = _take(run, host, answer)
    for lease in expected:
        if lease.lease not in named:
            undo_one(run, lease, timeout_s, by, intend=False)
    return [lease for lease in run.book.all() if lease.host == host]


def undo_leases(run: Run, leases: Iterable[Lease], timeout_s: float, by: str) -> list[Lease]:
    """Undo some leases one after the other; a host that does not answer leaves its lease `unknown`."""
    return [undo_one(run, lease, timeout_s, by) for lease in leases]


def undo_one(run: Run, lease: Lease, timeout_s: float, by: str, *, intend: bool = True) -> Lease:
    """Undo one lease by its name; it is `unknown` if the host could not be asked."""
    if intend:
        _intend(run, [lease], by)
    try:
        answer = ask(lease.host, "undo", {"lease": lease.lease}, timeout_s)
        _take(run, lease.host, answer)
    except ChaosGpuError as error:
        return run.book.change(lease.lease, state="unknown", reason=str(error))
    return run.book.get(lease.lease) or lease


def _intend(run: Run, leases: Iterable[Lease], by: str) -> None:
    """Write the intent first; a full disk does not keep a fault in force."""
    for lease in leases:
        run.renewal.drop(lease.lease)
        last_renewal(run, lease)
        run.note("lease.reverting", lease=lease.lease, host=lease.host, fault=lease.fault, by=by)
        run.book.change(lease.lease, undo_due=True)


def _take(run: Run, host: str, answer: JsonObject) -> frozenset[str]:
    """Take over what the agent says of each lease; return their names."""
    named = set()
    for said in objects(answer, "leases"):
        name = text(said, "lease")
        named.add(name)
        unknown = Lease(name, host, optional_text(said, "fault") or "unknown fault", "unknown")
        before, after = run.book.move(unknown, partial(_after, said))
        if after.state != before.state:
            _tell(run, after, said)
    return frozenset(named)


def _after(said: JsonObject, before: Lease) -> Lease:
    """Judge one lease of an undo's answer: not found is not clean where it was known to be in force."""
    state, reason = text(said, "state"), optional_text(said, "reason")
    ended_by = optional_text(said, "ended_by")
    if before.state == "refused" and state in ("clean", "tombstone"):
        return before  # the host took it up and gave it up before anything was changed
    if state == "tombstone" and not before.was_active:
        return replace(before, state="never", reason=reason)
    if state != "clean":
        lost = "the host no longer knows this lease, so nobody knows what it left behind"
        return replace(before, state="stuck", reason=reason or (lost if state == "tombstone" else f"it is {state}"))
    spoilt = before.was_active and not before.judged and ended_by is not None and ended_by not in _ON_PURPOSE
    early = ended_how(str(ended_by)) if spoilt else None
    return replace(
        before,
        state="clean",
        restored=whole_object(said, "restored"),
        reason=reason,
        ended_by=ended_by,
        ended_early=before.ended_early or early,
        unverified=before.unverified or ended_by == "unverified",
    )


def _tell(run: Run, lease: Lease, said: JsonObject) -> None:
    """Write the outcome to the ledger and to the terminal, once."""
    if lease.state == "never":
        logger.info(undo_line(lease))
        run.note("lease.clean", lease=lease.lease, host=lease.host, fault=lease.fault, never_in_force=True)
        return
    run.note(
        f"lease.{lease.state}",
        lease=lease.lease,
        host=lease.host,
        fault=lease.fault,
        restored=lease.restored,
        left_alone=said.get("left_alone", []),
        ended_by=said.get("ended_by"),
        reason=lease.reason,
        host_history=_history(lease),
    )
    (logger.info if lease.state == "clean" else logger.error)(undo_line(lease))


def _history(lease: Lease) -> JsonValue:
    """Fetch the host's own times of a lease; they help the reader, so a host that gives none is no failure."""
    try:
        record = ask(lease.host, "record", {"lease": lease.lease}, _RECORD_S)
    except ChaosGpuError:
        return None
    state = record.get("state")
    return record.get("history") or (state.get("history") if isinstance(state, dict) else None)
