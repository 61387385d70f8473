# SPDX-License-Identifier: Apache-2.0
"""What a service says of itself on its metrics page: a value, a change, retry amplification, a breaker's turns."""

from typing import Any

__all__ = [
    "breaker",
    "breaker_opened_and_closed",
    "metric_change",
    "metric_ratio",
    "metric_value",
    "retry_amplification",
]


def metric_value(
    url: str, metric: str, labels: dict[str, str] | None = None, path: str = "/metrics", timeout_s: float = 5
) -> float:
    """Return a metric's value now, added up over all samples with these labels.

    {"name": "requests under way", "type": "probe", "tolerance": {"type": "range", "range": [0, 32]},
     "provider": {"type": "python", "module": "chaosgpu.metrics.probes", "func": "metric_value",
     "arguments": {"url": "http://127.0.0.1:9100", "metric": "gateway_requests_under_way"}}}

    url: http://HOST:PORT. path: of the page. timeout_s: seconds.
    Raises ReadingUnknown where the page holds no such sample, which is not zero; Unreachable, BadArgument.
    """
    from chaosgpu.metrics import work  # noqa: PLC0415 (validation imports every named module)

    return work.value(metric, work.Asked(url, labels, None, path, timeout_s))


def metric_change(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    metric: str,
    labels: dict[str, str] | None = None,
    since: str | None = None,
    path: str = "/metrics",
    timeout_s: float = 5,
) -> float:
    """Return by how much a metric has changed.

    {"name": "requests that were turned away", "type": "probe", "tolerance": 0, "provider": {"type": "python",
     "module": "chaosgpu.metrics.probes", "func": "metric_change",
     "arguments": {"url": "http://127.0.0.1:9100", "metric": "gateway_requests_shed_total",
                   "since": "start"}}}

    since: the name given to `note_metrics`; without it since the service began to count. The rest as in `metric_value`.
    Raises ReadingUnknown also for a counter that began anew since it was noted.
    """
    from chaosgpu.metrics import work  # noqa: PLC0415

    return work.changed(metric, work.Asked(url, labels, since, path, timeout_s))


def metric_ratio(  # noqa: PLR0917
    url: str,
    above: str,
    below: str,
    labels: dict[str, str] | None = None,
    since: str | None = None,
    path: str = "/metrics",
    timeout_s: float = 5,
) -> float:
    """Return the change of one counter over that of another.

    {"name": "share of requests turned away", "type": "probe", "tolerance": {"type": "range", "range": [0, 0.2]},
     "provider": {"type": "python", "module": "chaosgpu.metrics.probes", "func": "metric_ratio",
     "arguments": {"url": "http://127.0.0.1:9100", "above": "gateway_requests_shed_total",
                   "below": "gateway_requests_total"}}}

    Arguments and errors as in `metric_change`; ReadingUnknown also where the one below has not risen.
    """
    from chaosgpu.metrics import work  # noqa: PLC0415

    return work.ratio(above, below, work.Asked(url, labels, since, path, timeout_s))


def retry_amplification(  # noqa: PLR0917
    url: str,
    labels: dict[str, str] | None = None,
    since: str | None = None,
    attempts: str = "gateway_attempts_total",
    calls: str = "gateway_calls_total",
    path: str = "/metrics",
    timeout_s: float = 5,
    if_noted: bool = False,
) -> float:
    """Return how many attempts there were for each call: 1 without retries, less with an open breaker.

    {"name": "retries stay bounded", "type": "probe", "tolerance": {"type": "range", "range": [0, 1.3]},
     "provider": {"type": "python", "module": "chaosgpu.metrics.probes", "func": "retry_amplification",
     "arguments": {"url": "http://127.0.0.1:9100", "labels": {"upstream": "chat"}}}}

    attempts, calls: your gateway's own counters; the defaults are those of the lab. if_noted: `since` may not have been
    noted yet, as in a hypothesis before its method; then all is counted since the service began.
    The rest as in `metric_ratio`.
    """
    from chaosgpu.metrics import work  # noqa: PLC0415

    return work.ratio(attempts, calls, work.Asked(url, labels, since, path, timeout_s, if_noted))


def breaker(  # noqa: PLR0917
    url: str,
    labels: dict[str, str] | None = None,
    since: str | None = None,
    transitions: str = "gateway_breaker_transitions_total",
    state: str = "gateway_breaker_open",
    path: str = "/metrics",
    timeout_s: float = 5,
) -> dict[str, Any]:
    """Return what a circuit breaker did.

    {"name": "the breaker", "type": "probe", "provider": {"type": "python", "module": "chaosgpu.metrics.probes",
     "func": "breaker", "arguments": {"url": "http://127.0.0.1:9100", "labels": {"upstream": "chat"}}}}

    transitions: a counter whose label `to` is `open` or `closed`. state: a gauge, 0 while it is closed.
    Returns {"opened", "closed", "open_now"}. The rest as in `metric_change`.
    """
    from chaosgpu.metrics import work  # noqa: PLC0415

    return work.turns(transitions, state, work.Asked(url, labels, since, path, timeout_s))


def breaker_opened_and_closed(  # noqa: PLR0917
    url: str,
    labels: dict[str, str] | None = None,
    since: str | None = None,
    transitions: str = "gateway_breaker_transitions_total",
    state: str = "gateway_breaker_open",
    path: str = "/metrics",
    timeout_s: float = 5,
) -> bool:
    """Say whether a breaker has opened and is closed again now.

    {"name": "the breaker did its work", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.metrics.probes", "func": "breaker_opened_and_closed",
     "arguments": {"url": "http://127.0.0.1:9100", "labels": {"upstream": "chat"}}}}

    Arguments and errors as in `breaker`. One that never opened is false.
    """
    from chaosgpu.metrics import work  # noqa: PLC0415

    found = work.turns(transitions, state, work.Asked(url, labels, since, path, timeout_s))
    return bool(found["opened"]) and bool(found["closed"]) and found["open_now"] == 0
