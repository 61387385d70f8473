# SPDX-License-Identifier: Apache-2.0
"""Undo the leases of a run: idempotent, from any thread, and never stopped by a record that cannot be written."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from chaosgpu.errors import ChaosGpuError, Unreachable
from chaosgpu.fleet.ask import Question, ask_all
from chaosgpu.fleet.values import JsonObject, JsonValue, objects, optional_text, text, whole_object
from chaosgpu.lease.book import Lease
from chaosgpu.lease.lines import ended_how, undo_line
from chaosgpu.lease.renewed import last_renewal
from chaosgpu.lease.run import Run

__all__ = ["undo_leases", "undo_on", "undo_one", "undo_run"]

logger = logging.getLogger("chaostoolkit")

# What may end a lease without the experiment being spoilt; a lease that was not verified is counted as such.
_ON_PURPOSE = frozenset({"undo", "unverified"})
_RECORD_S = 10.0

type _Told = tuple[Lease, JsonObject]


def undo_run(run: Run, hosts: Iterable[str], timeout_s: float, by: str) -> list[Lease]:
    """Undo everything of this run on these hosts at once; return its leases there as they are now.

    Raises Unreachable or AgentFailed if a host could not be asked: then nothing is known to be restored there, and
    everything is on the others.
    """
    there = set(hosts)
    cut_off = undo_on(run, there, timeout_s, by)
    if len(cut_off) == 1:
        raise next(iter(cut_off.values()))
    if cut_off:
        raise Unreachable(
            f"{len(cut_off)} of {len(there)} hosts could not undo. {' '.join(map(str, cut_off.values()))}"
        )
    return [lease for lease in run.book.all() if lease.host in there]


def undo_on(run: Run, hosts: Iterable[str], timeout_s: float, by: str) -> dict[str, ChaosGpuError]:
    """Undo everything of this run on these hosts at once; return which of them could not be asked, and why.

    Leases whose apply was sent and never answered are named one by one, so that a late apply finds its tombstone.
    """
    there = sorted(set(hosts))
    expected = [lease for lease in run.book.open() if lease.host in there]
    _intend(run, expected, by)
    named, cut_off = _undone(run, [Question(host, "undo", {"run": run.id}, timeout_s) for host in there], expected)
    undo_leases(
        run,
        [lease for lease in expected if lease.lease not in named and lease.host not in cut_off],
        timeout_s,
        by,
        intend=False,
    )
    return cut_off


def undo_leases(run: Run, leases: Iterable[Lease], timeout_s: float, by: str, *, intend: bool = True) -> list[Lease]:
    """Undo some leases by their names; one whose host could not be asked is `unknown`."""
    wanted = list(leases)
    if intend:
        _intend(run, wanted, by)
    asked = [Question(lease.host, "undo", {"lease": lease.lease}, timeout_s) for lease in wanted]
    named, failed = _undone(run, asked, wanted)
    for lease in wanted:
        if lease.host in failed and lease.lease not in named:
            run.book.change(lease.lease, state="unknown", reason=str(failed[lease.host]))
    return [run.book.get(lease.lease) or lease for lease in wanted]


def undo_one(run: Run, lease: Lease, timeout_s: float, by: str) -> Lease:
    """Undo one lease by its name; it is `unknown` if the host could not be asked."""
    return undo_leases(run, [lease], timeout_s, by)[0]


def _intend(run: Run, leases: Iterable[Lease], by: str) -> None:
    """Write the intent first; a full disk does not keep a fault in force."""
    for lease in leases:
        run.renewal.drop(lease.lease)
        last_renewal(run, lease)
        run.note("lease.reverting", lease=lease.lease, host=lease.host, fault=lease.fault, by=by)
        run.book.change(lease.lease, undo_due=True)


def _undone(
    run: Run, undoing: Sequence[Question], expected: Sequence[Lease]
) -> tuple[frozenset[str], dict[str, ChaosGpuError]]:
    """Ask hosts to undo and, in the same round trip, what their records then say of the leases that we know of."""
    answers = ask_all([*undoing, *_records(expected)])
    histories = _histories(expected, answers[len(undoing) :])
    said = [(question.host, answer) for question, answer in zip(undoing, answers, strict=False)]
    return _take(run, said, histories)


def _take(
    run: Run, answers: Iterable[tuple[str, JsonObject | ChaosGpuError]], histories: JsonObject
) -> tuple[frozenset[str], dict[str, ChaosGpuError]]:
    """Take over what each agent says of each lease; return their names, and the hosts that said nothing of use."""
    named: set[str] = set()
    cut_off: dict[str, ChaosGpuError] = {}
    changed: list[_Told] = []
    for host, answer in answers:
        try:
            if isinstance(answer, ChaosGpuError):
                raise answer
            for said in objects(answer, "leases"):
                name = text(said, "lease")
                named.add(name)
                unknown = Lease(name, host, optional_text(said, "fault") or "unknown fault", "unknown")
                before, after = run.book.move(unknown, partial(_after, said))
                if after.state != before.state:
                    changed.append((after, said))
        except ChaosGpuError as error:
            cut_off[host] = error
    strange = [lease for lease, _ in changed if lease.lease not in histories and lease.state != "never"]
    histories = histories | _histories(strange, ask_all(_records(strange)))
    for lease, said in changed:
        _tell(run, lease, said, histories.get(lease.lease))
    return frozenset(named), cut_off


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


def _tell(run: Run, lease: Lease, said: JsonObject, history: JsonValue) -> None:
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
        host_history=history,
    )
    (logger.info if lease.state == "clean" else logger.error)(undo_line(lease))


def _records(leases: Iterable[Lease]) -> list[Question]:
    return [Question(lease.host, "record", {"lease": lease.lease}, _RECORD_S) for lease in leases]


def _histories(leases: Sequence[Lease], records: Sequence[JsonObject | ChaosGpuError]) -> JsonObject:
    """Read the hosts' own times of leases; they help the reader, so a host that gives none is no failure."""
    found: JsonObject = {}
    for lease, record in zip(leases, records, strict=True):
        state = None if isinstance(record, ChaosGpuError) else record.get("state")
        told = None if isinstance(record, ChaosGpuError) else record.get("history")
        found[lease.lease] = told or (state.get("history") if isinstance(state, dict) else None)
    return found
