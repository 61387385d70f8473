# SPDX-License-Identifier: Apache-2.0
"""What the activities do once they are called; kept apart so that importing them stays cheap."""

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import AnswerWrong, BadArgument, NoGuard, ReadingUnknown
from chaosgpu.fleet.values import JsonObject, seconds
from chaosgpu.lease.guarded import guarded_run, refuse_closing
from chaosgpu.lease.run import current_run
from chaosgpu.traffic import running
from chaosgpu.traffic.kept import keep
from chaosgpu.traffic.phases import MARKS, Fault, fault_of_run, span_of
from chaosgpu.traffic.plain import prompts_of_file
from chaosgpu.traffic.plan import checked_plan
from chaosgpu.traffic.series import Figures, Line, Series, read_series, summed
from chaosgpu.traffic.slo import broken_after_s, recovery, slo_from, why_broken

__all__ = [
    "Load",
    "Window",
    "at_load",
    "deadline_honoured",
    "detected_after_s",
    "figures",
    "holds",
    "holds_at_load",
    "latency_ms",
    "marked",
    "recovered_after_s",
    "started",
    "stopped",
]

logger = logging.getLogger("chaostoolkit")

_WHOLE_PERCENT = 100
_POLL_S = 0.1
# The oldest of the last seconds counts whole.
_PART_OF_SECOND = 0.999
# Beyond the timeout of its last requests a living generator writes its seconds within this.
_BEHIND_S = 3.0
_MARKED = ("during", "after")


@dataclass(frozen=True)
class Load:
    """What an experiment says of a stream of requests, not yet checked."""

    url: object
    rate_per_s: object
    duration_s: object
    model: str | None
    requests: str | None
    golden: str | None
    timeout_s: object
    arrival: object
    seed: object
    late_ms: object


@dataclass(frozen=True)
class Window:
    """Which part of which traffic is meant: a phase, the last seconds, or a series that another process writes."""

    name: object
    phase: object
    last_s: object
    series: object


def started(name: object, load: Load) -> JsonObject:
    """Start traffic that goes on while the experiment does."""
    run = guarded_run()
    refuse_closing(run, "Traffic was not started")
    one = _start(name, load, run.directory / "series")
    plan = one.plan
    return {
        "name": plan.name,
        "rate_per_s": plan.rate_per_s,
        "duration_s": plan.duration_s,
        "series": plan.series,
    }


def _start(name: object, load: Load, folder: Path) -> running.Running:
    taken = len(list(folder.glob(f"traffic-{name}-*.jsonl")))
    plan = checked_plan(**vars(load), name=name, series=str(folder / f"traffic-{name}-{taken + 1}.jsonl"))
    if plan.requests is not None:
        prompts_of_file(plan, Path(plan.requests))  # said here, before a process is started
    return running.start(plan)


def stopped(name: object) -> JsonObject:
    """Stop traffic and sum all of it up."""
    one = running.stop(name)
    found = _summed(read_series(Path(one.plan.series)), lambda series: list(series.lines))
    return {"name": one.plan.name, "series": one.plan.series, **found.to_json()}


def marked(phase: object) -> JsonObject:
    """Write down that a phase begins now."""
    if phase not in _MARKED:
        raise BadArgument(f"phase must be one of {', '.join(_MARKED)}, not {phase!r}.")
    path = guarded_run().directory / "series" / MARKS
    entry: JsonObject = {"at": round(time.time(), 3), "phase": str(phase)}
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "w") as stream:
        stream.write(json.dumps(entry) + "\n")
    return entry


def figures(window: Window) -> Figures:
    """Sum a part of the traffic up; ReadingUnknown where it has no seconds or the generator was late."""
    return _summed(*_part(window))


def holds(slo: object, window: Window) -> bool:
    """Judge a part of the traffic; what does not hold is logged."""
    wanted = slo_from(slo)
    return _held(why_broken(wanted, figures(window)))


def at_load(load: Load) -> Figures:
    """Send traffic for its duration, here and now, and sum it up."""
    with tempfile.TemporaryDirectory(prefix="chaosgpu-traffic-") as own:
        try:
            folder = current_run().directory / "series"
        except NoGuard:  # nothing is kept
            folder = Path(own)
        name = "measured"
        one = _start(name, load, folder)
        one.process.wait(one.plan.duration_s + one.plan.timeout_s + _BEHIND_S)
        running.stop(name)
        return _summed(read_series(Path(one.plan.series)), lambda series: list(series.lines))


def deadline_honoured(deadline_ms: object, slack_ms: object, window: Window) -> bool:
    """Say whether every answer came in time; the longest wait is logged where one did not."""
    bound_ms = 0.0
    for name, value in (("deadline_ms", deadline_ms), ("slack_ms", slack_ms)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise BadArgument(f"{name} must be a number of milliseconds, not {value!r}.")
        bound_ms += value
    if bound_ms >= _series(window).timeout_s * 1000:
        raise BadArgument(f"The traffic itself waits no longer than {bound_ms:g} ms; give it a longer timeout_s.")
    longest_ms = figures(window).answered_max_ms
    if longest_ms > bound_ms:
        logger.warning("A request waited %.0f ms for any answer, over the deadline of %s ms", longest_ms, deadline_ms)
    return longest_ms <= bound_ms


def holds_at_load(slo: object, load: Load) -> bool:
    """Send traffic for its duration and judge it; what does not hold is logged."""
    wanted = slo_from(slo)
    return _held(why_broken(wanted, at_load(load)))


def latency_ms(percent: object, window: Window) -> float:
    """Return a percentile of a part of the traffic."""
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 < percent <= _WHOLE_PERCENT:
        raise BadArgument(f"percentile must be over 0 and at most {_WHOLE_PERCENT}, not {percent!r}.")
    found = figures(window).latency_ms(percent)
    if found is None:
        raise ReadingUnknown("Nothing was answered and nothing timed out in this phase: it has no latency.")
    return found


def _held(why: str | None) -> bool:
    if why is not None:
        logger.warning("The traffic's objective does not hold: %s", why)
    return why is None


def detected_after_s(slo: object, window: Window, window_s: object) -> float:
    """Return the seconds from the fault to the first window in which the objective was broken."""
    wanted, width = slo_from(slo), _whole(window_s)
    series, fault = _series(window), _fault()
    begin, end = span_of("during", fault, series.started_at, time.time())
    series = _caught_up(series, end)
    after_s = broken_after_s(wanted, series.touching(begin, end), begin, width, series.timeout_s)
    if after_s is None:
        raise ReadingUnknown("The objective held all through the fault: there was nothing to detect.")
    return after_s


def recovered_after_s(slo: object, window: Window, window_s: object, stable_s: object) -> float:
    """Return the seconds from the end of the fault until the objective held, and held from then on."""
    wanted, width, stable = slo_from(slo), _whole(window_s), seconds("stable_s", stable_s)
    series, fault = _series(window), _fault()
    begin, now = span_of("after", fault, series.started_at, time.time())
    series = _caught_up(series, now)
    found = recovery(wanted, series.between(begin, now), begin, width, series.timeout_s)
    if found.after_s is None:
        raise AnswerWrong(f"The service has not recovered {now - begin:.0f} s after the fault: {found.why}.")
    if found.held_s < stable:
        raise AnswerWrong(
            f"The objective holds again after {found.after_s:.1f} s, but has done so for {found.held_s:.1f} s only, "
            f"under stable_s {stable:g}; wait longer before this probe, with the traffic under way."
        )
    return found.after_s


def _fault() -> Fault | None:
    return fault_of_run(current_run().directory)


def _part(window: Window) -> tuple[Series, Callable[[Series], list[Line]]]:
    series = _series(window)
    now = time.time()
    if window.last_s is not None:
        begin, end = now - seconds("last_s", window.last_s) - _PART_OF_SECOND, now
    elif window.series is not None and window.phase == "all":
        begin, end = series.started_at, now
    else:
        begin, end = span_of(window.phase, _fault() if window.phase != "all" else None, series.started_at, now)
    begin = max(begin, series.started_at)
    series = _caught_up(series, end)
    if window.series is not None:
        keep(series)
    if window.last_s is None and window.phase == "during":
        return series, lambda whole: whole.touching(begin, end)
    return series, lambda whole: whole.between(begin - 0.001, end + 0.001)


def _series(window: Window) -> Series:
    """Find the series that is meant."""
    if window.series is not None:
        if not isinstance(window.series, str):
            raise BadArgument(f"series must be the path of a generator's series, not {window.series!r}.")
        return read_series(Path(window.series))
    one = running.by_name(window.name) if isinstance(window.name, str) else None
    if one is None:
        raise BadArgument(f"No traffic {window.name!r} was started in this run; start it with start_traffic.")
    return read_series(Path(one.plan.series))


def _caught_up(series: Series, until: float) -> Series:
    """Wait until every request that was due by then is accounted for: at most their timeout."""
    end_s = time.monotonic() + series.timeout_s + _BEHIND_S
    while series.ended is None and series.until + 1 <= until:
        one = running.by_name(series.name)
        ours = one is not None and one.plan.series == str(series.path)
        if time.monotonic() > end_s or (one is not None and ours and not one.going):
            raise ReadingUnknown(
                f"The series {series.path} ends {until - series.until:.0f} s too early: its generator was killed or "
                "stands still, so nobody knows what users got."
            )
        time.sleep(_POLL_S)
        series = read_series(series.path)
    return series


def _summed(series: Series, chosen: Callable[[Series], list[Line]]) -> Figures:
    found = summed(chosen(series), series.timeout_s)
    if not found.due:
        raise ReadingUnknown(
            f"The traffic {series.name!r} has no whole second with requests in this part; let it run longer."
        )
    if found.void is not None:
        raise ReadingUnknown(f"The traffic {series.name!r}: {found.void}. Lower rate_per_s, or send from elsewhere.")
    if found.wrong_because is not None:
        logger.warning("Of the traffic %s %d answers were wrong: %s", series.name, found.wrong, found.wrong_because)
    return found


def _whole(window_s: object) -> int:
    if isinstance(window_s, bool) or not isinstance(window_s, int) or window_s < 1:
        raise BadArgument(f"window_s must be a whole number of seconds from 1, not {window_s!r}.")
    return window_s
