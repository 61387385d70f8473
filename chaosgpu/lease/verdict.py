# SPDX-License-Identifier: Apache-2.0
"""The verdict of a run, from what happened in it; a pure function, and the one table of exit codes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chaosgpu.lease.book import Lease

__all__ = ["EXIT_CODES", "STILL_RUNNING", "Happened", "Judgement", "Verdict", "judge"]


class Verdict(StrEnum):
    """What a run proved; the worst comes first."""

    UNSAFE = "unsafe"
    INCONCLUSIVE = "inconclusive"
    DEVIATED = "deviated"
    PASSED = "passed"
    NONE = "none"  # a dry run has no verdict


# 1 and 2 are left to a Python traceback and to a wrong command line.
EXIT_CODES: dict[Verdict, int] = {
    Verdict.PASSED: 0,
    Verdict.NONE: 0,
    Verdict.DEVIATED: 3,
    Verdict.INCONCLUSIVE: 4,
    Verdict.UNSAFE: 5,
}
STILL_RUNNING = 6


@dataclass(frozen=True)
class Judgement:
    """A verdict and why."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Happened:
    """What happened in a run, as far as it counts for the verdict."""

    dry: bool = False
    # Each of these is a sentence.
    refused: str | None = None
    crashed: str | None = None
    interrupted: str | None = None
    signals: tuple[str, ...] = ()
    leases: tuple[Lease, ...] = ()
    sweep_failed: str | None = None
    # What of this run's the host still has, though its leases have ended; and why that could not be seen.
    left_behind: tuple[str, ...] = ()
    residue_unknown: str | None = None
    failed_actions: tuple[str, ...] = ()
    failed_rollbacks: tuple[str, ...] = ()
    unplayed_rollbacks: tuple[str, ...] = ()
    undo_failed: str | None = None
    # What was done beside leases: what is not as it was, and what the experiment counted on that was not so.
    not_restored: tuple[str, ...] = ()
    unproved: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    record_gaps: tuple[str, ...] = ()
    has_hypothesis: bool = True
    # None where it was not checked; the text names the probe.
    held_before: bool | None = None
    held_after: bool | None = None
    broke_before: str | None = None
    broke_after: str | None = None
    unknown_after: str | None = None
    checks_during: int = 0
    broke_during: str | None = None


def judge(happened: Happened) -> Judgement:
    """Return the worst that can be said: unsafe, inconclusive, deviated, passed; a dry run has no verdict.

    A dry run is still unsafe if something is left behind: `--dry probes` puts real faults in.
    """
    for verdict, reasons in (
        (Verdict.UNSAFE, _unsafe(happened)),
        (Verdict.NONE, _dry(happened)),
        (Verdict.INCONCLUSIVE, _inconclusive(happened)),
        (Verdict.DEVIATED, _deviated(happened)),
    ):
        if reasons:
            more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            return Judgement(verdict, f"{reasons[0]}{more}")
    return Judgement(Verdict.PASSED, _passed(happened))


def _unsafe(happened: Happened) -> list[str]:
    """Say what is not known to be as it was."""
    open_leases = [lease for lease in happened.leases if lease.open]
    reasons = [
        f"{lease.fault} on {lease.host} was not restored: {lease.reason or f'its lease is {lease.state}'}"
        for lease in open_leases
    ]
    if happened.sweep_failed and any(lease.was_active or lease.open for lease in happened.leases):
        reasons.append(f"the last sweep did not show that nothing is in force: {happened.sweep_failed}")
    reasons += [*happened.not_restored, *happened.left_behind]
    left = (*happened.failed_rollbacks, *happened.unplayed_rollbacks)
    return reasons + [f"the rollback {sentence}: what it restores may not be restored" for sentence in left]


def _dry(happened: Happened) -> list[str]:
    return ["a dry run proves nothing"] if happened.dry else []


def _inconclusive(happened: Happened) -> list[str]:
    """Say why nothing was proved. What cut the run short comes first, and alone: the rest only follows from it."""
    reasons = [f"refused: {happened.refused}"] if happened.refused else []
    reasons += [f"stopped by {signal}" for signal in happened.signals[:1]]
    reasons += [sentence for sentence in (happened.interrupted, happened.crashed) if sentence]
    if happened.held_before is False:
        reasons.append(
            f"the steady state did not hold before the method: {happened.broke_before}; the method was not played"
        )
    if reasons:
        return reasons[:1]
    reasons += [*_faults(happened.leases), *happened.unproved]
    reasons += [f"the action {sentence}" for sentence in happened.failed_actions]
    if happened.undo_failed:
        reasons.append(f"the rollback of this run failed, though nothing was left in the end: {happened.undo_failed}")
    if happened.sweep_failed:
        reasons.append(f"the host could not be asked at the end: {happened.sweep_failed}")
    if happened.residue_unknown:
        reasons.append(f"it is not known whether something of this run is left: {happened.residue_unknown}")
    reasons += [f"the record is incomplete: {gap}" for gap in happened.record_gaps[:1]]
    return reasons + _unjudged(happened)


def _faults(leases: Iterable[Lease]) -> list[str]:
    """Say which fault was not what the experiment counts on."""
    reasons = []
    for lease in leases:
        named = f"{lease.fault} on {lease.host}"
        if lease.unverified:
            reasons.append(f"{named} was not verified: {lease.reason or 'its effect could not be seen'}")
        elif lease.ended_early:
            reasons.append(f"{named} was not in force to the end: {lease.ended_early}")
        elif lease.state == "refused":
            reasons.append(f"{named} was refused: {lease.reason}")
        elif lease.state == "never" or not lease.was_active:
            reasons.append(f"{named} was never in force")
    return reasons


def _unjudged(happened: Happened) -> list[str]:
    """Say why the steady state was not judged."""
    if not happened.has_hypothesis:
        return ["the experiment has no steady-state hypothesis, so nothing was judged"]
    if happened.unknown_after:
        return [f"the steady state could not be judged after the method: {happened.unknown_after}"]
    if happened.held_after is None and not happened.checks_during:
        return ["the steady state was not checked during or after the method"]
    return []


def _deviated(happened: Happened) -> list[str]:
    """Say how the steady state broke."""
    reasons = []
    if happened.held_after is False:
        reasons.append(f"the steady state did not hold after the method: {happened.broke_after}")
    if happened.broke_during:
        reasons.append(f"the steady state did not hold during the method: {happened.broke_during}")
    return reasons


def _passed(happened: Happened) -> str:
    """Say what was proved, and no more."""
    faults = sorted({lease.fault for lease in happened.leases} | {*happened.done})
    if not faults:
        return "the steady state held; no fault was put in, so only the steady state was checked"
    return f"the steady state held under {', '.join(faults)}, and everything was put back"
