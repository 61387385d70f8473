# SPDX-License-Identifier: Apache-2.0
"""Traffic as actions: start it, stop it, say which phase begins. It is load, not a fault: no lease holds it."""

from typing import Any

__all__ = ["mark_phase", "start_traffic", "stop_traffic"]


def start_traffic(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    rate_per_s: float,
    duration_s: float,
    model: str | None = None,
    requests: str | None = None,
    golden: str | None = None,
    timeout_s: float = 5,
    name: str = "traffic",
    arrival: str = "steady",
    seed: int = 1,
    late_ms: float = 10,
) -> dict[str, Any]:
    """Send requests open loop from a process of its own while the experiment goes on; every answer is checked.

    {"name": "background traffic", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.traffic.actions", "func": "start_traffic",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat", "rate_per_s": 20, "duration_s": 120}}}

    url: http://HOST:PORT. rate_per_s: requests a second, at most 20000, sent by the clock whatever the service does.
    duration_s: seconds; it ends sooner with `stop_traffic` or with the run. model: a Triton model, asked row by row
    over KServe v2; golden: its known answer (else it is learned first, so start while it is healthy). requests: instead
    of a model, a file of HTTP requests with their known answers. timeout_s: seconds from when a request is due.
    name: for probes and the file `series/traffic-NAME-N.jsonl`. arrival: `steady` or `poisson`. seed: of the order.
    late_ms: a request sent later than this is late; over 1 % of them void the figures.
    Returns {"name", "rate_per_s", "duration_s", "series"}. Raises NoGuard, BadArgument, Unreachable, AnswerWrong where
    the service does not answer before the first request.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415 (validation imports every named module)

    load = work.Load(url, rate_per_s, duration_s, model, requests, golden, timeout_s, arrival, seed, late_ms)
    return work.started(name, load)


def stop_traffic(name: str = "traffic") -> dict[str, Any]:
    """Stop sending, wait for the answers under way, and sum all of it up. Again is harmless.

    {"name": "no more traffic", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.traffic.actions", "func": "stop_traffic"}}

    name: as given to `start_traffic`.
    Returns {"name", "series", "due", "ok", "throughput_per_s", "error_percent", "errors", "wrong", "p50_ms", "p95_ms",
    "p99_ms", "late_percent", …}. Raises BadArgument for traffic that was not started, ReadingUnknown where the
    generator could not keep up.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.stopped(name)


def mark_phase(phase: str) -> dict[str, Any]:
    """Say that the fault is in force from now on (`during`), or over (`after`): for faults that are no leases.

    {"name": "from here on the model is slow", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.traffic.actions", "func": "mark_phase", "arguments": {"phase": "during"}}}

    phase: `during` or `after`. Without marks the probes take the phases from the run's own leases.
    Returns {"at", "phase"}. Raises BadArgument, NoGuard without the guard control.
    """
    from chaosgpu.traffic import work  # noqa: PLC0415

    return work.marked(phase)
