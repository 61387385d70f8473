# SPDX-License-Identifier: Apache-2.0
"""What the gateway counts, for Prometheus and for the probes."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics"]

_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """All families of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        one = self.registry
        self.requests = Counter("gateway_requests", "Requests answered", ["status"], registry=one)
        self.seconds = Histogram("gateway_request_seconds", "From arrival to answer", buckets=_BUCKETS_S, registry=one)
        self.under_way = Gauge("gateway_requests_under_way", "Requests not answered yet", registry=one)
        self.shed = Counter("gateway_requests_shed", "Requests refused since too many were under way", registry=one)
        self.calls = Counter("gateway_calls", "What was wanted of an upstream", ["upstream"], registry=one)
        self.attempts = Counter("gateway_attempts", "How often it was asked for that", ["upstream"], registry=one)
        self.failures = Counter("gateway_failures", "Attempts that failed", ["upstream", "kind"], registry=one)
        self.breaker = Gauge("gateway_breaker_open", "1 open, 0.5 half open, 0 closed", ["upstream"], registry=one)
        self.breaker_turns = Counter(
            "gateway_breaker_transitions", "Changes of a breaker", ["upstream", "to"], registry=one
        )
        for upstream in ("embed", "store", "chat"):
            self.breaker.labels(upstream).set(0)
            self.calls.labels(upstream)
            self.attempts.labels(upstream)
            for state in ("open", "half-open", "closed"):
                self.breaker_turns.labels(upstream, state)
