# SPDX-License-Identifier: Apache-2.0
"""The end of a run: the last sweep, the verdict, the record. Three places call it; the first one does it."""

import logging
from collections.abc import MutableMapping

from chaosgpu.controls.last_look import LastLook, last_look
from chaosgpu.controls.left_behind import LeftBehind, left_behind
from chaosgpu.controls.outcome import from_journal
from chaosgpu.controls.preflight import keep
from chaosgpu.controls.session import Session
from chaosgpu.controls.signals import Phase
from chaosgpu.errors import ChaosGpuError, LedgerBroken
from chaosgpu.fleet.ask import use_inventory
from chaosgpu.fleet.redaction import forget, redact
from chaosgpu.fleet.values import JsonObject, objects, optional_text, text
from chaosgpu.lease.deeds import Settled
from chaosgpu.lease.directory import plain, write_json
from chaosgpu.lease.hosts import hosts_of_run
from chaosgpu.lease.run import Run, deactivate
from chaosgpu.lease.undo import undo_run
from chaosgpu.lease.verdict import Happened, Judgement, Verdict, judge

__all__ = ["close", "release"]

logger = logging.getLogger("chaostoolkit")

_UNDO_S = 60.0
_TRIES = 3
_ENDED = frozenset({"clean", "tombstone"})
# The only statuses that Chaos Toolkit knows; anything but "completed" makes it exit with 1.
_NOT_GREEN = "failed"

type Journal = MutableMapping[str, object]


def close(session: Session, journal: Journal | None) -> None:
    """Sweep, judge and write the verdict, once; until that is done the run is not green."""
    if session.judgement is not None:
        return
    journal = session.journal if journal is None else journal
    journal = {} if journal is None else journal
    ended_as = journal.get("status")
    journal["status"] = _NOT_GREEN
    session.signals.phase = Phase.CLOSING
    run = session.run
    sweep_failed, left, settled = None, LeftBehind(), Settled()
    if run is not None:
        run.close()
        sweep_failed, look = _sweep(run, also_keep=session.hosts_known)
        if run.deeds:
            settled = run.put_back("end")
            look = last_look(run, hosts_of_run(run), also_keep=session.hosts_known)
        if sweep_failed is None:  # a host that does not answer is told already
            left = left_behind(run, look.residue)
        _after(run, look)
        _keep_journal(session, journal)
    at_the_end = (sweep_failed, left, settled)
    happened = from_journal(_happened(session, journal, ended_as, at_the_end), journal, session.experiment)
    judgement = judge(happened)
    if run is not None:
        run.note("run.finished", verdict=judgement.verdict.value, reason=judgement.reason)
        if run.gaps:
            # Also where only this very line could not be written.
            happened = from_journal(_happened(session, journal, ended_as, at_the_end), journal, session.experiment)
            judgement = judge(happened)
    session.judgement = judgement
    _show_in_journal(session, journal, judgement, ended_as)
    _keep_journal(session, journal)
    _say(session, judgement)


def release(session: Session, journal: Journal | None) -> None:
    """Write the journal's last form and give back what the guard took: actions are refused from here on."""
    if journal is not None:
        if session.signals.received:
            name = session.signals.received[0]
            journal.setdefault("interruption", {"kind": "signal", "name": name, "reason": f"received {name}"})
        # Chaos Toolkit writes this object next: without secrets, and without values that would tear its file.
        clean = plain(dict(journal))
        if isinstance(clean, dict):
            journal.update(redact(clean))
        _keep_journal(session, journal)
    deactivate()
    session.end()
    if session.inventory is not None:
        use_inventory(None)
    session.held.close()
    session.signals.restore()
    logger.removeFilter(session.log_filter)
    forget()


def _sweep(run: Run, *, also_keep: bool) -> tuple[str | None, LastLook]:
    """Undo what is left and look at the hosts; return why that could not be done, and what they said in the end."""
    failed, look = None, LastLook()
    for _ in range(_TRIES if run.book.all() else 0):
        try:
            failed, look = _swept(run, also_keep=also_keep)
        except ChaosGpuError as error:
            failed = str(error)
            logger.error("The last sweep of this run failed: %s", error)  # noqa: TRY400 (a sentence for operators)
            continue
        if failed is None and not run.book.open():
            break
    if also_keep and (failed is not None or not look.facts):
        look = last_look(run, hosts_of_run(run), also_keep=True)
    return failed, look


def _swept(run: Run, *, also_keep: bool) -> tuple[str | None, LastLook]:
    """Undo once and look once; return what is still held, and all that was seen."""
    hosts = hosts_of_run(run)
    if run.book.open():
        undo_run(run, hosts, _UNDO_S, "sweep")
    look = last_look(run, hosts, also_keep=also_keep)
    held: dict[str, list[str]] = {}
    for host, answer in look.held.items():
        if isinstance(answer, ChaosGpuError):
            raise answer
        said = objects(answer, "leases")
        _cross_check(run, said)
        names = [text(lease, "lease") for lease in said if text(lease, "state") not in _ENDED]
        held |= {host: names} if names else {}
    # What an undo was answered is not the state: only the host's own list, asked again, is.
    if held:
        undo_run(run, held, _UNDO_S, "sweep")
    still = "; ".join(_still(host, names, several=len(hosts) > 1) for host, names in held.items())
    return still or None, look


def _still(host: str, names: list[str], *, several: bool) -> str:
    return f"{host if several else 'the host'} still holds {', '.join(names)} after the undo was answered"


def _cross_check(run: Run, held: list[JsonObject]) -> None:
    """Compare with what the undo was answered: an answer that the host's own record does not bear out was none."""
    for said in held:
        lease, ended_by = run.book.get(text(said, "lease")), optional_text(said, "ended_by")
        if lease is not None and lease.state == "clean" and ended_by != lease.ended_by:
            told = f"the undo was answered as ended by {lease.ended_by}, but the host's record says {ended_by}"
            run.book.change(lease.lease, unverified=True, reason=told)


def _after(run: Run, look: LastLook) -> None:
    """Write the hosts' facts after the run beside those before."""
    for host, facts in look.facts.items():
        try:
            keep(run.directory, host, "after", {"facts": facts, "list": look.listed[host]})
        except LedgerBroken as error:
            run.lacks(str(error))


def _happened(
    session: Session, journal: Journal, ended_as: object, at_the_end: tuple[str | None, LeftBehind, Settled]
) -> Happened:
    """Collect what the guard itself knows."""
    sweep_failed, left, settled = at_the_end
    run = session.run
    crashed = None
    if not session.ready:
        crashed = "the guard could not be set up; the log has the reason"
    elif "end" not in journal:
        crashed = "Chaos Toolkit broke off with an error before the end; its log has the reason"
    elif ended_as == "aborted":
        crashed = "Chaos Toolkit aborted the experiment; its log has the reason"
    return Happened(
        dry=session.dry is not None,
        refused=session.refused,
        crashed=crashed,
        interrupted=session.stopped
        or settled.stopped
        or ("the run was interrupted" if ended_as == "interrupted" else None),
        signals=tuple(session.signals.received),
        leases=tuple(run.book.all()) if run is not None else (),
        sweep_failed=sweep_failed,
        left_behind=left.found,
        residue_unknown=left.unknown,
        not_restored=settled.not_restored,
        unproved=settled.unproved,
        done=settled.done,
        record_gaps=tuple(run.gaps) if run is not None else (),
    )


def _show_in_journal(session: Session, journal: Journal, judgement: Judgement, ended_as: object) -> None:
    """Put the verdict where Chaos Toolkit reads its exit code from."""
    none = judgement.verdict is Verdict.NONE
    green = judgement.verdict is Verdict.PASSED or none
    # A green verdict gives back what Chaos Toolkit said; it never makes a failed run good.
    journal["status"] = ended_as if green or ended_as not in (None, "completed") else _NOT_GREEN
    if judgement.verdict is Verdict.DEVIATED:
        journal["deviated"] = True
        journal["status"] = ended_as or _NOT_GREEN
    journal["chaosgpu"] = {
        "verdict": None if none else judgement.verdict.value,
        "reason": judgement.reason,
        "run": session.run.id if session.run is not None else None,
        "directory": str(session.run.directory) if session.run is not None else None,
    }


def _keep_journal(session: Session, journal: Journal) -> None:
    """Copy the journal to the run directory."""
    if session.run is None:
        return
    try:
        write_json(session.run.directory / "journal.json", dict(journal))
    except LedgerBroken as error:
        session.run.lacks(str(error))


def _say(session: Session, judgement: Judgement) -> None:
    """Show the verdict and where the record is."""
    line = f"VERDICT {judgement.verdict.value}: {judgement.reason}"
    if judgement.verdict in (Verdict.PASSED, Verdict.NONE):
        logger.info(line)
    else:
        logger.error(line)
    if session.run is not None:
        logger.info("RECORD %s", session.run.directory)
