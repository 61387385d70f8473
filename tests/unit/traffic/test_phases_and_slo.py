# SPDX-License-Identifier: Apache-2.0
"""Phases from ledgers and marks, objectives over made-up seconds; no process and no clock."""

from datetime import UTC, datetime

import pytest

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.fleet.values import JsonObject
from chaosgpu.traffic.phases import Fault, fault_of_ledger, fault_of_marks, span_of
from chaosgpu.traffic.series import Line, summed
from chaosgpu.traffic.slo import broken_after_s, recovery, slo_from, why_broken
from chaosgpu.traffic.tally import histogram, percentile

T0 = 1_000_000.0


def entry(at: float, kind: str, lease: str = "a", **more: bool) -> JsonObject:
    return {"at": datetime.fromtimestamp(T0 + at, UTC).isoformat(), "type": kind, "lease": lease, **more}


def seconds(*latencies_ms: float, errors: int = 0, late: int = 0, count: int = 10) -> list[Line]:
    """Make one line for each latency; `errors` of each second's requests were refused."""
    found, kinds = [], {"rejected": errors} if errors else {}
    for number, latency in enumerate(latencies_ms):
        recorded = histogram(10_000_000)
        for _ in range(count - errors):
            recorded.record_value(latency * 1000)
        coded = recorded.encode().decode()
        found.append(Line(number, T0 + number, count, count - errors, late, 1.0, latency, kinds, {}, coded, None))
    return found


def test_a_fault_begins_with_its_intent_and_ends_when_the_last_lease_is_clean() -> None:
    ledger = [
        entry(1, "run.started"), entry(5, "lease.reserved"), entry(6, "lease.active"),
        entry(7, "lease.reserved", "b"), entry(8, "lease.active", "b"), entry(15, "lease.active", again=True),
        entry(20, "lease.clean"), entry(25, "lease.reverting", "b"), entry(26, "lease.clean", "b"),
    ]  # fmt: skip
    assert fault_of_ledger(ledger) == Fault(T0 + 5, T0 + 26)
    assert fault_of_ledger(ledger[:-1]) == Fault(T0 + 5, None)


def test_a_fault_that_was_refused_is_none() -> None:
    assert fault_of_ledger([entry(5, "lease.reserved"), entry(6, "lease.refused"), entry(7, "lease.clean")]) is None


def test_marks_say_from_when_to_when() -> None:
    during: JsonObject = {"at": T0 + 3, "phase": "during"}
    assert fault_of_marks([during]) == Fault(T0 + 3, None)
    assert fault_of_marks([during, {"at": T0 + 9, "phase": "after"}]) == Fault(T0 + 3, T0 + 9)
    assert fault_of_marks([{"at": T0 + 9, "phase": "after"}]) is None


def test_a_phase_that_has_not_begun_is_unknown_and_one_that_does_not_exist_is_an_error() -> None:
    assert span_of("before", None, T0, T0 + 9) == (T0, T0 + 9)
    assert span_of("before", Fault(T0 + 4, None), T0, T0 + 9) == (T0, T0 + 4)
    assert span_of("during", Fault(T0 + 4, None), T0, T0 + 9) == (T0 + 4, T0 + 9)
    assert span_of("after", Fault(T0 + 4, T0 + 6), T0, T0 + 9) == (T0 + 6, T0 + 9)
    with pytest.raises(ReadingUnknown, match="no fault of this run was in force"):
        span_of("during", None, T0, T0 + 9)
    with pytest.raises(ReadingUnknown, match="still in force"):
        span_of("after", Fault(T0 + 4, None), T0, T0 + 9)
    with pytest.raises(BadArgument, match="phase must be one of before, during, after, all"):
        span_of("meanwhile", None, T0, T0 + 9)


def test_percentiles_of_several_seconds_are_those_of_all_their_requests() -> None:
    whole = summed([*seconds(10.0, count=990), *seconds(500.0)], 5)
    assert whole.latency_ms(50) == pytest.approx(10, rel=0.001)
    assert whole.latency_ms(99) == pytest.approx(10, rel=0.001)
    assert whole.latency_ms(99.5) == pytest.approx(500, rel=0.001)
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert percentile([1.0], 99) == 1.0


def test_each_bound_of_an_objective_is_judged() -> None:
    slow, refused = summed(seconds(800.0), 5), summed(seconds(10.0, errors=5), 5)
    assert why_broken(slo_from({"p99_ms": 900, "error_percent": 0, "wrong": 0, "throughput_per_s": 10}), slow) is None
    assert why_broken(slo_from({"p99_ms": 500}), slow) == "p99 is 800.3 ms, over 500 ms"
    assert why_broken(slo_from({"error_percent": 1}), refused) == (
        "50.0 % got no right answer in time, over 1 % (5 rejected)"
    )
    assert why_broken(slo_from({"throughput_per_s": 8}), refused) == "5.0 right answers a second, under 8"
    nothing = summed(seconds(10.0, errors=10), 5)
    assert why_broken(slo_from({"p95_ms": 500}), nothing) == "nothing was answered, so there is no p95"


def test_an_objective_with_an_unknown_bound_or_none_is_refused() -> None:
    for wrong in ({}, {"p98_ms": 5}, {"p99_ms": -1}, {"p99_ms": "5"}, None, {"error_percent": 101}):
        with pytest.raises(BadArgument, match="slo"):
            slo_from(wrong)


def test_detection_counts_from_the_fault_to_the_end_of_the_first_broken_window() -> None:
    slo = slo_from({"p99_ms": 100})
    lines = seconds(10, 10, 10, 900, 900, 10)
    assert broken_after_s(slo, lines, T0 + 1.5, 1, 5) == 2.5
    assert broken_after_s(slo, seconds(10, 10), T0, 1, 5) is None


def test_recovery_is_when_the_objective_held_for_good() -> None:
    slo = slo_from({"p99_ms": 100})
    found = recovery(slo, seconds(900, 900, 10, 900, 10, 10), T0, 1, 5)
    assert (found.after_s, found.held_s) == (4, 2)
    assert recovery(slo, seconds(10, 10), T0, 1, 5).after_s == 0
    never = recovery(slo, seconds(10, 900), T0, 1, 5)
    assert never.after_s is None
    assert never.why == "p99 is 900.1 ms, over 100 ms"


def test_seconds_in_which_the_generator_was_late_are_not_judged() -> None:
    with pytest.raises(ReadingUnknown, match="cannot be judged at every second"):
        recovery(slo_from({"p99_ms": 100}), seconds(10, late=5), T0, 1, 5)
