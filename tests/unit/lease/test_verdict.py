# SPDX-License-Identifier: Apache-2.0
"""The verdict as a pure function: a table of what happened and what may be said of it."""

from dataclasses import replace

import pytest

from chaosgpu.lease.book import Lease
from chaosgpu.lease.verdict import EXIT_CODES, STILL_RUNNING, Happened, Verdict, judge

CLEAN = Lease("lease-1", "localhost", "gpu.memory.fill", "clean", was_active=True)
GOOD = Happened(leases=(CLEAN,), held_before=True, held_after=True)


@pytest.mark.parametrize(
    ("happened", "verdict", "reason"),
    [
        (GOOD, Verdict.PASSED, "held under gpu.memory.fill"),
        (replace(GOOD, leases=()), Verdict.PASSED, "no fault was put in"),
        (replace(GOOD, held_after=False, broke_after="'canary' gave false"), Verdict.DEVIATED, "'canary' gave false"),
        (replace(GOOD, checks_during=3, broke_during="'canary' gave false"), Verdict.DEVIATED, "during the method"),
        (replace(GOOD, held_after=None, checks_during=3), Verdict.PASSED, "held under"),
        (replace(GOOD, held_after=None), Verdict.INCONCLUSIVE, "not checked"),
        (replace(GOOD, has_hypothesis=False), Verdict.INCONCLUSIVE, "no steady-state hypothesis"),
        (
            replace(GOOD, held_before=False, broke_before="'canary' gave false"),
            Verdict.INCONCLUSIVE,
            "before the method",
        ),
        (replace(GOOD, unknown_after="'ecc' gave ReadingUnknown"), Verdict.INCONCLUSIVE, "could not be judged"),
        (replace(GOOD, refused="the host is halted"), Verdict.INCONCLUSIVE, "refused: the host is halted"),
        (replace(GOOD, signals=("SIGTERM", "SIGINT")), Verdict.INCONCLUSIVE, "stopped by SIGTERM"),
        (replace(GOOD, interrupted="it was interrupted"), Verdict.INCONCLUSIVE, "it was interrupted"),
        (replace(GOOD, crashed="it broke off"), Verdict.INCONCLUSIVE, "it broke off"),
        (replace(GOOD, failed_actions=("'boom' failed: x",)), Verdict.INCONCLUSIVE, "the action 'boom' failed"),
        (replace(GOOD, record_gaps=("no space",)), Verdict.INCONCLUSIVE, "the record is incomplete: no space"),
        (replace(GOOD, undo_failed="timed out"), Verdict.INCONCLUSIVE, "nothing was left in the end"),
        (replace(GOOD, leases=(replace(CLEAN, unverified=True),)), Verdict.INCONCLUSIVE, "was not verified"),
        (replace(GOOD, leases=(replace(CLEAN, ended_early="gone"),)), Verdict.INCONCLUSIVE, "not in force to the end"),
        (replace(GOOD, leases=(replace(CLEAN, state="refused"),)), Verdict.INCONCLUSIVE, "was refused"),
        (
            replace(GOOD, leases=(replace(CLEAN, state="never", was_active=False),)),
            Verdict.INCONCLUSIVE,
            "was never in force",
        ),
        (replace(GOOD, leases=(replace(CLEAN, state="stuck", reason="x"),)), Verdict.UNSAFE, "was not restored: x"),
        (replace(GOOD, leases=(replace(CLEAN, state="active"),)), Verdict.UNSAFE, "was not restored"),
        (replace(GOOD, leases=(replace(CLEAN, state="reserved"),)), Verdict.UNSAFE, "was not restored"),
        (replace(GOOD, leases=(replace(CLEAN, state="unknown"),)), Verdict.UNSAFE, "was not restored"),
        (
            replace(GOOD, sweep_failed="no answer"),
            Verdict.UNSAFE,
            "the last sweep did not show that nothing is in force: no answer",
        ),
        (replace(GOOD, leases=(), sweep_failed="no answer"), Verdict.INCONCLUSIVE, "could not be asked"),
        (replace(GOOD, failed_rollbacks=("'load' failed (x)",)), Verdict.UNSAFE, "'load' failed"),
        (replace(GOOD, unplayed_rollbacks=("'load' was not played",)), Verdict.UNSAFE, "'load' was not played"),
        (replace(GOOD, dry=True, held_after=None), Verdict.NONE, "a dry run"),
        (replace(GOOD, dry=True, signals=("SIGTERM",)), Verdict.NONE, "a dry run"),
        (replace(GOOD, dry=True, leases=(replace(CLEAN, state="stuck"),)), Verdict.UNSAFE, "was not restored"),
    ],
)
def test_what_happened_has_one_verdict_and_a_reason(happened: Happened, verdict: Verdict, reason: str) -> None:
    judgement = judge(happened)
    assert judgement.verdict is verdict
    assert reason in judgement.reason


def test_the_worst_wins() -> None:
    unsafe = replace(
        GOOD,
        held_after=False,
        signals=("SIGTERM",),
        leases=(replace(CLEAN, unverified=True), replace(CLEAN, state="stuck", reason="by hand")),
    )
    assert judge(unsafe).verdict is Verdict.UNSAFE
    inconclusive = replace(unsafe, leases=(CLEAN,))
    assert judge(inconclusive).verdict is Verdict.INCONCLUSIVE
    assert judge(replace(inconclusive, signals=())).verdict is Verdict.DEVIATED


def test_nothing_known_is_never_a_pass() -> None:
    assert judge(Happened()).verdict is Verdict.INCONCLUSIVE


def test_each_verdict_has_its_exit_code_and_only_a_pass_or_a_dry_run_is_zero() -> None:
    assert set(EXIT_CODES) == set(Verdict)
    assert {verdict for verdict, code in EXIT_CODES.items() if code == 0} == {Verdict.PASSED, Verdict.NONE}
    bad = [code for code in EXIT_CODES.values() if code] + [STILL_RUNNING]
    assert len(set(bad)) == len(bad)
    assert not {1, 2} & set(bad)
