# SPDX-License-Identifier: Apache-2.0
"""Play one way of losing rollbacks on the real `chaos run`, with our guard and a real agent, or without both."""

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.chaos import GUARD, TESTS, UNDO_ALL, Chaos, experiment, python
from support.drill import CONTROL, Drill
from unit.controls.ways import Activity, Way

__all__ = ["Outcome", "play_guarded", "play_plain"]

_ENDS_WITHIN_S = 90.0
_DURATION_S, _MARGIN_S = 6.0, 1.0  # of a fault whose controller hangs: the host ends it after their sum


@dataclass(frozen=True)
class Outcome:
    """What was left behind."""

    broken: bool
    got_in: bool
    verdict: str | None
    reason: str
    # Seconds from the deadline to clean, by the host's own record, where the host ended the lease.
    late_s: float | None
    said: str


def play_guarded(way: Way, strategy: str, folder: Path) -> Outcome:
    """Play it with the guard; one that hangs is killed once the host is clean, and recovered as a person would."""
    drill = Drill(folder, ttl_s=20)
    try:
        duration_s = _DURATION_S if way.hangs else 60.0
        fault = python("break it", "break_file", module="support.drill", duration_s=duration_s, timeout_s=60)
        more = {"TEST_MARGIN_S": str(_MARGIN_S)} if way.hangs else {}
        chaos = _start(way, strategy, drill, fault, [CONTROL, GUARD], UNDO_ALL, more)
        said = _see_end(way, chaos, drill)
        run = (folder / ".chaosgpu/runs/latest").resolve()
        entries = _ledger(run)
        if entries[-1]["type"] != "run.finished":
            drill.command("recover")
            entries = _ledger(run)
        last = entries[-1]
        return Outcome(
            drill.host.broken(),
            _has_been_in_force(drill),
            last.get("verdict"),
            str(last.get("reason")),
            _late_s(drill),
            said,
        )
    finally:
        drill.host.close()


def play_plain(way: Way, strategy: str, folder: Path) -> Outcome:
    """Play it as plain Chaos Toolkit does, with a rollback that mends the fault; one that hangs is killed."""
    drill = Drill(folder, ttl_s=20)
    try:
        fault = python("break it", "break_plainly", module="support.ways")
        mend = python("mend it", "mend_plainly", module="support.ways")
        chaos = _start(way, strategy, drill, fault, [], mend, {})
        if way.hangs:
            _wait(lambda: drill.host.broken() or chaos.process.poll() is not None, _ENDS_WITHIN_S)
            _send(way, chaos)
            with contextlib.suppress(AssertionError):
                chaos.finish(4)  # time for whatever still comes
            said = ""
        else:
            _send(way, chaos)
            said = chaos.finish(_ENDS_WITHIN_S).said
        return Outcome(drill.host.broken(), got_in=True, verdict=None, reason="", late_s=None, said=said)
    finally:
        drill.host.close()


def _start(  # noqa: PLR0917 (what the two ways to play differ in)
    way: Way,
    strategy: str,
    drill: Drill,
    fault: Activity,
    controls: list[dict[str, Any]],
    undo: Activity,
    more: dict[str, str],
) -> Chaos:
    (drill.folder / "vanishing.py").write_text("def act():\n    return True\n")
    if way.control is not None:
        provider = {"type": "python", "module": "support.interrupting", "arguments": dict(way.control)}
        controls = [*controls, {"name": "interrupting", "provider": provider}]
    steady = way.steady or {**python("it holds", "holds", kind="probe", module="support.ways"), "tolerance": True}
    content = experiment(
        [fault, *way.method],
        controls=controls,
        rollbacks=[*way.rollbacks, undo],
        runtime={"hypothesis": {"strategy": "default"}, "rollbacks": {"strategy": strategy}},
        **{"steady-state-hypothesis": {"title": "it holds", "probes": [steady]}},
    )
    content = json.loads(json.dumps(content).replace("{folder}", str(drill.folder)))
    path = os.pathsep.join((str(TESTS), str(drill.folder)))
    environment = drill.environment | {"PYTHONPATH": path, **more}
    options = (*way.options, "--rollback-strategy", strategy)
    return Chaos(drill.folder, content, *options, ignore=(), **environment)


def _see_end(way: Way, chaos: Chaos, drill: Drill) -> str:
    if way.gets_in and way.send:
        _wait(lambda: _has_been_in_force(drill), _ENDS_WITHIN_S)
    _send(way, chaos)
    if not way.hangs:
        return chaos.finish(_ENDS_WITHIN_S).said
    _wait(lambda: _has_been_in_force(drill) and not drill.host.broken(), _ENDS_WITHIN_S)
    with contextlib.suppress(AssertionError):
        return chaos.finish(8).said  # some end by themselves once the guard has undone
    return "it hung and was killed"


def _send(way: Way, chaos: Chaos) -> None:
    for mark, one in way.send:
        chaos.wait_for(Path(mark.replace("{folder}", str(chaos.folder))), _ENDS_WITHIN_S)
        time.sleep(0.1)  # the mark is written just before the wait it stands for
        with contextlib.suppress(ProcessLookupError):
            os.kill(chaos.process.pid, one) if one is not signal.SIGKILL else os.killpg(chaos.process.pid, one)


def _has_been_in_force(drill: Drill) -> bool:
    folder = drill.host.home / "leases"
    return folder.exists() and any("active" in _states(lease) for lease in drill.leases())


def _states(lease: dict[str, Any]) -> list[str]:
    return [entry["state"] for entry in lease["history"]]


def _late_s(drill: Drill) -> float | None:
    folder = drill.host.home / "leases"
    for lease in drill.leases() if folder.exists() else []:
        if lease["ended_by"] == "deadline":
            clean_s = [entry["boottime_s"] for entry in lease["history"] if entry["state"] == "clean"]
            return float(clean_s[0] - min(lease["deadline_s"], lease["end_s"])) if clean_s else float("inf")
    return None


def _ledger(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]


def _wait(true: Any, within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.05)
