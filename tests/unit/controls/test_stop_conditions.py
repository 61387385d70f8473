# SPDX-License-Identifier: Apache-2.0
"""Stop conditions on the real `chaos run`: refused at the start, undone first at a trip, not in rollback."""

import time
from pathlib import Path
from typing import Any

import pytest

from support.chaos import GUARD, TINY, UNDO_ALL, Chaos, Played, experiment, play, python
from support.drill import CONTROL, Drill

WITHIN_S = 2.0  # from the trip to the undo, also while a background activity hangs


def guard(stop_when: object) -> dict[str, Any]:
    provider = {"type": "python", "module": "chaosgpu.controls.guard", "arguments": {"stop_when": stop_when}}
    return {**GUARD, "provider": provider}


def guarded(method: list[dict[str, Any]], stop_when: object, **changes: Any) -> dict[str, Any]:
    return experiment(method, controls=[TINY, guard(stop_when)], **changes)


def signals(played: Played) -> list[dict[str, Any]]:
    return [entry for entry in played.ledger if entry["type"] == "signal"]


def gone_after_s(path: Path) -> float:
    started = time.monotonic()
    while path.exists():
        assert time.monotonic() - started < 10
        time.sleep(0.01)
    return time.monotonic() - started


def test_a_trip_undoes_first_even_while_the_background_hangs(tmp_path: Path) -> None:
    hanging = {**python("hang", "wait", seconds=8.0, mark=str(tmp_path / "waiting")), "background": True}
    stop = tmp_path / "stop"
    chaos = Chaos(tmp_path, guarded([python("break it", "break_it"), hanging], f"controller_file_exists('{stop}')"))
    chaos.wait_for(tmp_path / "waiting")
    stop.touch()
    took_s = gone_after_s(tmp_path / "agent/broken")
    assert took_s < WITHIN_S
    assert chaos.process.poll() is None  # the background still hangs
    played = chaos.finish(20)

    assert played.status == 1
    assert played.verdict == ("inconclusive", f"a stop condition was met: the file {stop} exists")
    [signal] = signals(played)
    assert (signal["name"], signal["met"], signal["reading"]) == ("stop condition", "met", f"the file {stop} exists")
    assert played.types.index("signal") < played.types.index("lease.reverting")


def test_without_the_condition_the_same_file_stops_nothing(tmp_path: Path) -> None:
    method = [python("break it", "break_it"), python("wait", "wait", seconds=2, mark=str(tmp_path / "waiting"))]
    chaos = Chaos(tmp_path, guarded(method, f"controller_file_exists('{tmp_path}/other')"))
    chaos.wait_for(tmp_path / "waiting")
    (tmp_path / "stop").touch()
    assert chaos.finish(20).verdict[0] == "passed"


@pytest.mark.parametrize(
    ("stop_when", "says"),
    [
        ("elapsed(0)", "A stop condition is met already"),
        ("probe_fails('it is unknown')", "A stop condition cannot be read"),
        ("probe_fails('hangs')", "gave no reading within 5 s"),
        ("elapsed(", "The guard's stop_when is wrong"),
        ("elapsed(9) & gpu_xid()", "cannot be joined with &"),
        ("elapsed(${nothing})", "The guard's stop_when is wrong"),
    ],
)
def test_what_is_wrong_met_or_unknown_at_the_start_refuses_and_nothing_is_played(
    tmp_path: Path, stop_when: str, says: str
) -> None:
    probes = [python("it is unknown", "is_unknown", kind="probe"), python("hangs", "wait", kind="probe", seconds=60)]
    method = [python("break it", "break_it"), *probes]
    played = play(tmp_path, guarded(method, stop_when, configuration={"some": "value"}))
    verdict, reason = played.verdict
    assert (verdict, played.status) == ("inconclusive", 1)
    assert says in reason
    assert "lease.reserved" not in played.types
    assert "probe" not in played.types


def test_a_probe_of_the_experiment_stops_the_run_and_a_value_of_the_configuration_is_filled_in(tmp_path: Path) -> None:
    probe = python("it holds still", "holds", kind="probe", until_broken=True)
    method = [python("break it", "break_it"), python("wait", "wait", seconds=20), {**probe, "tolerance": True}]
    stop_when = "probe_fails('it holds still', seconds=${for_s})"
    played = play(tmp_path, guarded(method, stop_when, configuration={"for_s": 0.5}))
    assert not played.broken
    verdict, reason = played.verdict
    assert verdict == "inconclusive"
    assert reason.startswith("a stop condition was met: 'it holds still' gave False, for ")


def test_a_condition_that_hangs_during_the_method_counts_as_a_stop(tmp_path: Path) -> None:
    probe = python("answers until broken", "hangs_when_broken", kind="probe")
    method = [python("break it", "break_it"), python("wait", "wait", seconds=20), probe]
    started = time.monotonic()
    played = play(tmp_path, guarded(method, "probe_fails('answers until broken')"))
    assert time.monotonic() - started < 18
    assert not played.broken
    assert played.verdict[0] == "inconclusive"
    assert "could not be read, which counts as met: probe_fails gave no reading" in played.verdict[1]
    assert [signal["met"] for signal in signals(played)] == ["unknown"]


def test_once_rollback_has_begun_no_condition_stops_it(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    rollbacks = [python("slow", "wait", seconds=1.5, mark=str(stop)), UNDO_ALL, python("last", "says")]
    played = play(
        tmp_path, guarded([python("break it", "break_it")], f"controller_file_exists('{stop}')", rollbacks=rollbacks)
    )
    assert [run["status"] for run in played.journal["rollbacks"]] == ["succeeded"] * 3
    assert not signals(played)
    assert played.verdict[0] == "passed"


def test_a_host_watches_its_own_conditions_and_ends_the_fault_by_itself(tmp_path: Path) -> None:
    drill = Drill(tmp_path, ttl_s=20)
    stop = tmp_path / "stop"
    method = [python("break it", "break_file", module="support.drill"), drill.wait(30)]
    content = experiment(method, controls=[CONTROL, guard(f"file_exists('{stop}') | elapsed(600)")])
    chaos = Chaos(tmp_path, content, ignore=(), **drill.environment)
    chaos.wait_for(drill.waiting, 30)
    stop.touch()
    played = chaos.finish(40)

    assert not drill.host.broken()
    [lease] = drill.leases()
    assert (lease["state"], lease["ended_by"]) == ("clean", "stop")
    verdict, reason = played.verdict
    assert verdict == "inconclusive"
    assert f"a stop condition on the host ended it: its stop condition was met: the file {stop} exists" in reason
    drill.host.close()


def test_a_condition_that_a_host_cannot_read_refuses_the_fault(tmp_path: Path) -> None:
    drill = Drill(tmp_path, ttl_s=20)
    method = [python("break it", "break_file", module="support.drill")]
    content = experiment(method, controls=[CONTROL, guard("file_exists('/proc/self/stat/x')")])
    played = Chaos(tmp_path, content, ignore=(), **drill.environment).finish(40)
    assert not drill.host.broken()
    assert played.verdict[0] == "inconclusive"
    assert "A stop condition cannot be read, so the fault is not put in" in played.verdict[1]
    drill.host.close()
