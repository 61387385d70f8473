# SPDX-License-Identifier: Apache-2.0
"""How the gateway treats what it depends on: two sets of the same knobs."""

from dataclasses import dataclass

__all__ = ["POLICIES", "Policy"]


@dataclass(frozen=True)
class Policy:
    """None means: not at all."""

    # From the arrival of a request to its answer, whatever that is.
    deadline_s: float | None
    attempt_s: float
    attempts: int
    # Retries wait at random, twice as long each time, from this up to the next.
    backoff_s: float | None
    backoff_most_s: float
    # Retries may be so large a part of all calls, and so many at once without any calls before.
    retry_share: float | None
    retries_at_once: int
    # After so many failures in a row nothing is asked for so long; then one call is let through.
    breaker_failures: int | None
    breaker_reset_s: float
    # Requests under way; one more is refused at once.
    concurrency_most: int | None


POLICIES = {
    # What many services do: each attempt has its time, a failure is tried again at once, nobody is ever turned away.
    "fragile": Policy(
        deadline_s=None,
        attempt_s=1.0,
        attempts=4,
        backoff_s=None,
        backoff_most_s=0.0,
        retry_share=None,
        retries_at_once=0,
        breaker_failures=None,
        breaker_reset_s=0.0,
        concurrency_most=None,
    ),
    "hardened": Policy(
        deadline_s=1.0,
        attempt_s=0.6,
        attempts=2,
        backoff_s=0.05,
        backoff_most_s=0.2,
        retry_share=0.1,
        retries_at_once=5,
        breaker_failures=5,
        breaker_reset_s=1.0,
        concurrency_most=32,
    ),
}
