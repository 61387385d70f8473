# SPDX-License-Identifier: Apache-2.0
"""What a drill writes to the site's evidence log, in the order in which it must: one function an entry.

    planned → approved (as often as needed) → started → [the run] → finished or aborted → residue, if any

`started` returns when the line is on disk: call it before the run is begun, and begin none if it raises.
"""

from pathlib import Path

from chaosgpu.errors import LedgerBroken
from chaosgpu.evidence.log import EvidenceLog, Written
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.chain import digest
from chaosgpu.lease.history import load
from chaosgpu.lease.ledger import read_lines
from chaosgpu.lease.verdict import Verdict

__all__ = ["aborted", "anchored", "approved", "finished", "planned", "residue", "skipped", "started"]


def planned(log: EvidenceLog, drill: str, plan_sha256: str, **more: JsonValue) -> Written:
    """Note a plan by the SHA-256 of its file's bytes; say what else is worth keeping by name, such as `change_id`."""
    return log.append("planned", drill, "", plan_sha256=plan_sha256, **more)


def approved(
    log: EvidenceLog, drill: str, plan_sha256: str, by: str, signature_sha256: str, **more: JsonValue
) -> Written:
    """Note an approval that was checked: who signed, and the SHA-256 of the signature's file."""
    return log.append("approved", drill, "", plan_sha256=plan_sha256, by=by, signature_sha256=signature_sha256, **more)


def started(log: EvidenceLog, drill: str, attempt: str, plan_sha256: str, **more: JsonValue) -> Written:
    """Note that an attempt begins. Written and synced before this returns: no fault may come earlier."""
    return log.append("started", drill, attempt, plan_sha256=plan_sha256, **more)


def finished(log: EvidenceLog, drill: str, attempt: str, run_directory: Path, **more: JsonValue) -> Written:
    """Note how an attempt's run ended: the verdict, and the ledger by its length and the digest of its last line.

    A run whose ledger has no end, or does not hold, is noted as `aborted`.
    """
    said = _of_run(run_directory)
    past = load(run_directory)
    whole = past.ended and not past.problems
    return log.append("finished" if whole else "aborted", drill, attempt, **said, **more)


def aborted(
    log: EvidenceLog, drill: str, attempt: str, reason: str, run_directory: Path | None = None, **more: JsonValue
) -> Written:
    """Note that an attempt ended otherwise: refused, stopped before its run, or lost; with what the run has left."""
    nothing: JsonObject = {"run": "", "verdict": "", "ledger_lines": 0, "ledger_sha256": ""}
    said = nothing if run_directory is None else _of_run(run_directory)
    return log.append("aborted", drill, attempt, **{**said, "reason": reason}, **more)


def residue(log: EvidenceLog, drill: str, attempt: str, host: str, what: str, **more: JsonValue) -> Written:
    """Note something that an attempt left on a host."""
    return log.append("residue", drill, attempt, host=host, what=what, **more)


def skipped(log: EvidenceLog, drill: str, due: str, reason: str, **more: JsonValue) -> Written:
    """Note that a drill was due and was not begun, and why."""
    return log.append("drill-skipped", drill, "", due=due, reason=reason, **more)


def anchored(log: EvidenceLog, size: int, head: str, where: str) -> Written:
    """Note that somebody else holds this checkpoint: from here on nothing up to `size` can be changed unseen."""
    return log.append("anchored", size=size, head=head, where=where)


def _of_run(run_directory: Path) -> JsonObject:
    """Return what a run's ledger says, and by which digest it is known."""
    past = load(run_directory)
    try:
        lines, _ = read_lines(run_directory / "ledger.jsonl")
    except LedgerBroken:
        lines = []
    return {
        "run": run_directory.name,
        "verdict": (past.verdict or Verdict.INCONCLUSIVE).value,
        "ledger_lines": len(lines),
        "ledger_sha256": digest(lines[-1]) if lines else "",
        "reason": past.reason,
    }
