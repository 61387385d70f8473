# SPDX-License-Identifier: Apache-2.0
"""What users get of the service, by phase: tail latency, right answers a second, errors by kind, time to recover."""

from typing import Any

__all__ = [
    "deadline_honoured",
    "error_percent",
    "errors",
    "figures",
    "figures_at_load",
    "latency_ms",
    "slo_holds",
    "slo_holds_at_load",
    "throughput_per_s",
    "time_to_detect_s",
    "time_to_recover_s",
    "wrong_answers",
]


def figures(
    phase: str = "all", name: str = "traffic", last_s: float | None = None, series: str | None = None
) -> dict[str, Any]:
    """Sum a phase of the traffic up.

    {"name": "what users got", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.traffic.probes", "func": "figures", "arguments": {"phase": "during"}}}

    phase: `before` (up to the first fault), `during`, `after` (since the last one was undone), `all`; by the run's
    leases, or by `mark_phase`. name: as given to `start_traffic`. last_s: instead of a phase, the whole seconds up
    to now. series: instead of a name, the file that another generator writes.
    Waits until each request of the phase has ended, at most its timeout. Latency counts from when a request was due;
    one that timed out took the timeout, a refused one has none. Returns {"seconds", "due", "ok", "throughput_per_s",
    "error_percent", "errors", "statuses", "wrong", "wrong_because", "p50_ms", "p95_ms", "p99_ms", "max_ms",
    "late_percent", "late_max_ms", "answered_max_ms", "void"}. Raises ReadingUnknown where the generator was late or
    killed, or the phase has no whole second; BadArgument.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415 (validation imports every named module)

    return work.figures(work.Window(name, phase, last_s, series)).to_json()


def latency_ms(
    percentile: float = 99,
    phase: str = "all",
    name: str = "traffic",
    last_s: float | None = None,
    series: str | None = None,
) -> float:
    """Return a percentile of the latency in milliseconds, counted from when each request was due.

    {"name": "p99 while it lasts", "type": "probe", "tolerance": {"type": "range", "range": [0, 500]},
     "provider": {"type": "python", "module": "chaosgpu.traffic.probes", "func": "latency_ms",
     "arguments": {"percentile": 99, "phase": "during"}}}

    percentile: over 0, at most 100. The rest as in `figures`. Raises ReadingUnknown also where nothing was answered.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.latency_ms(percentile, work.Window(name, phase, last_s, series))


def throughput_per_s(
    phase: str = "all", name: str = "traffic", last_s: float | None = None, series: str | None = None
) -> float:
    """Return the right answers a second.

    {"name": "goodput", "type": "probe", "tolerance": {"type": "range", "range": [18, 20.5]},
     "provider": {"type": "python", "module": "chaosgpu.traffic.probes", "func": "throughput_per_s",
     "arguments": {"phase": "during"}}}

    Arguments and errors as in `figures`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.figures(work.Window(name, phase, last_s, series)).throughput_per_s


def error_percent(
    phase: str = "all", name: str = "traffic", last_s: float | None = None, series: str | None = None
) -> float:
    """Return the share of requests without a right answer in time, in percent.

    {"name": "errors", "type": "probe", "tolerance": {"type": "range", "range": [0, 1]},
     "provider": {"type": "python", "module": "chaosgpu.traffic.probes", "func": "error_percent"}}

    Arguments and errors as in `figures`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.figures(work.Window(name, phase, last_s, series)).error_percent


def errors(
    phase: str = "all", name: str = "traffic", last_s: float | None = None, series: str | None = None
) -> dict[str, Any]:
    """Count the errors by kind.

    {"name": "errors by kind", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.traffic.probes", "func": "errors", "arguments": {"phase": "during"}}}

    Returns counts of `timed_out`, `rejected` (429, 503), `server_error`, `client_error`, `wrong_status`, `wrong`,
    `unreachable`, `broken_off`, `not_http`, `too_large`, `not_sent`; a kind without an error is not there.
    Arguments and errors as in `figures`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return dict(work.figures(work.Window(name, phase, last_s, series)).errors)


def wrong_answers(
    phase: str = "all", name: str = "traffic", last_s: float | None = None, series: str | None = None
) -> int:
    """Count the answers that came in time and were not the known ones.

    {"name": "no wrong answer", "type": "probe", "tolerance": 0, "provider": {"type": "python",
     "module": "chaosgpu.traffic.probes", "func": "wrong_answers"}}

    Arguments and errors as in `figures`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.figures(work.Window(name, phase, last_s, series)).wrong


def slo_holds(
    slo: dict[str, Any],
    phase: str = "all",
    name: str = "traffic",
    last_s: float | None = None,
    series: str | None = None,
) -> bool:
    """Say whether an objective held in a phase; what did not is logged.

    {"name": "users are served", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.traffic.probes", "func": "slo_holds",
     "arguments": {"slo": {"p99_ms": 500, "error_percent": 1, "wrong": 0}, "phase": "during"}}}

    slo: at least one of p50_ms, p95_ms, p99_ms, error_percent, wrong, throughput_per_s (right answers, the least).
    The rest as in `figures`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.holds(slo, work.Window(name, phase, last_s, series))


def deadline_honoured(  # noqa: PLR0917 (an experiment names them all)
    deadline_ms: float,
    slack_ms: float = 100,
    phase: str = "all",
    name: str = "traffic",
    last_s: float | None = None,
    series: str | None = None,
) -> bool:
    """Say whether each request was answered within a deadline, with whatever: a refusal in time honours it.

    {"name": "nobody waits longer than a second", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.traffic.probes", "func": "deadline_honoured",
     "arguments": {"deadline_ms": 1000, "phase": "during"}}}

    deadline_ms: of the service, counted from when a request was sent. slack_ms: for the way there and back. The
    traffic's own timeout must be longer than both. The rest as in `figures`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.deadline_honoured(deadline_ms, slack_ms, work.Window(name, phase, last_s, series))


def figures_at_load(  # noqa: PLR0917
    url: str,
    rate_per_s: float,
    duration_s: float,
    model: str | None = None,
    requests: str | None = None,
    golden: str | None = None,
    timeout_s: float = 5,
    arrival: str = "steady",
    seed: int = 1,
    late_ms: float = 10,
) -> dict[str, Any]:
    """Send traffic for a while and sum it up: a probe on its own, for a hypothesis without background traffic.

    {"name": "what users would get", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.traffic.probes", "func": "figures_at_load",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat", "rate_per_s": 20, "duration_s": 10}}}

    Arguments as in `start_traffic`; returns and raises as `figures`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    load = work.Load(url, rate_per_s, duration_s, model, requests, golden, timeout_s, arrival, seed, late_ms)
    return work.at_load(load).to_json()


def slo_holds_at_load(  # noqa: PLR0917
    slo: dict[str, Any],
    url: str,
    rate_per_s: float,
    duration_s: float,
    model: str | None = None,
    requests: str | None = None,
    golden: str | None = None,
    timeout_s: float = 5,
    arrival: str = "steady",
    seed: int = 1,
    late_ms: float = 10,
) -> bool:
    """Send traffic for a while and say whether an objective held; what did not is logged.

    {"name": "users are served", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.traffic.probes", "func": "slo_holds_at_load",
     "arguments": {"slo": {"p99_ms": 500, "error_percent": 1}, "url": "http://127.0.0.1:8000", "model": "chat",
                   "rate_per_s": 20, "duration_s": 10}}}

    slo: as in `slo_holds`. The rest as in `figures_at_load`.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    load = work.Load(url, rate_per_s, duration_s, model, requests, golden, timeout_s, arrival, seed, late_ms)
    return work.holds_at_load(slo, load)


def time_to_detect_s(slo: dict[str, Any], window_s: int = 1, name: str = "traffic", series: str | None = None) -> float:
    """Return the seconds from the fault until the traffic first broke the objective.

    {"name": "time to detect", "type": "probe", "tolerance": {"type": "range", "range": [0, 10]},
     "provider": {"type": "python", "module": "chaosgpu.traffic.probes", "func": "time_to_detect_s",
     "arguments": {"slo": {"p99_ms": 500, "error_percent": 1}}}}

    slo: as in `slo_holds`, judged over each window_s whole seconds. It is what a monitor that sees this traffic could
    know at the earliest, not when anybody was alerted: for that see `alert_fired`.
    Raises ReadingUnknown where the objective held all through the fault.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.detected_after_s(slo, work.Window(name, "during", None, series), window_s)


def time_to_recover_s(
    slo: dict[str, Any], window_s: int = 1, stable_s: float = 5, name: str = "traffic", series: str | None = None
) -> float:
    """Return the seconds from the end of the fault until the objective held for good; 0 where it never broke.

    {"name": "time to recover", "type": "probe", "tolerance": {"type": "range", "range": [0, 10]},
     "provider": {"type": "python", "module": "chaosgpu.traffic.probes", "func": "time_to_recover_s",
     "arguments": {"slo": {"p99_ms": 500, "error_percent": 1}, "stable_s": 10}}}

    slo: as in `slo_holds`, judged over each window_s whole seconds up to now. stable_s: for how long it must hold.
    Raises AnswerWrong where the service has not recovered, or not for that long; ReadingUnknown where the fault is
    still in force.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.recovered_after_s(slo, work.Window(name, "after", None, series), window_s, stable_s)
