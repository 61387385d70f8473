# SPDX-License-Identifier: Apache-2.0
"""One service that the gateway depends on, asked under the gateway's policy."""

import asyncio
import contextlib
from collections.abc import Iterator

import aiohttp
import pybreaker
import tenacity
from metrics import Metrics
from policy import Policy

__all__ = ["Failed", "Upstream"]

_CLIENT_ERROR, _SERVER_ERROR, _TOO_MANY = 400, 500, 429
_SOONER_S = 0.02
_STATES = {"closed": 0.0, "half-open": 0.5, "open": 1.0}

type Json = dict[str, object] | list[object]


class Failed(Exception):
    """An attempt failed in a way that another one might not."""


class _Watch(pybreaker.CircuitBreakerListener):
    """Shows a breaker's state on the metrics page."""

    def __init__(self, upstream: str, metrics: Metrics) -> None:
        self._upstream, self._metrics = upstream, metrics

    def state_change(
        self,
        cb: object,  # noqa: ARG002 (pybreaker's)
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        # Several calls that fail while it is half open each open it again.
        if old_state is not None and old_state.name == new_state.name:
            return
        self._metrics.breaker.labels(self._upstream).set(_STATES[new_state.name])
        self._metrics.breaker_turns.labels(self._upstream, new_state.name).inc()


class Upstream:
    """Timeouts for each attempt, retries within a budget, a breaker around them."""

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession, policy: Policy, metrics: Metrics) -> None:
        self.name, self._url, self._session = name, url, session
        self._policy, self._metrics = policy, metrics
        self._budget = float(policy.retries_at_once)
        self._breaker = None
        if policy.breaker_failures is not None:
            self._breaker = pybreaker.CircuitBreaker(
                fail_max=policy.breaker_failures,
                reset_timeout=policy.breaker_reset_s,
                exclude=[lambda error: not isinstance(error, Failed)],
                listeners=[_Watch(name, metrics)],
                name=name,
            )

    async def call(self, until_s: float | None, method: str, path: str, body: Json | None = None) -> dict[str, object]:
        """Ask for one thing, as often as the policy lets us, and no longer than until then on the loop's clock."""
        self._metrics.calls.labels(self.name).inc()
        if self._policy.retry_share is not None:
            self._budget = min(self._policy.retries_at_once, self._budget + self._policy.retry_share)
        answer: dict[str, object] = {}
        async for attempt in self._retrying():
            with attempt, self._through_breaker():
                answer = await self._attempt(until_s, method, path, body)
        return answer

    def _retrying(self) -> tenacity.AsyncRetrying:
        policy = self._policy
        wait = tenacity.wait_none()
        if policy.backoff_s is not None:
            wait = tenacity.wait_random_exponential(multiplier=policy.backoff_s, max=policy.backoff_most_s)
        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(policy.attempts) | self._budget_is_spent,
            wait=wait,
            retry=tenacity.retry_if_exception_type(Failed),
            reraise=True,
        )

    def _budget_is_spent(self, _state: tenacity.RetryCallState) -> bool:
        """Take one retry from the budget; without it a service that fails gets more to do than one that works."""
        if self._policy.retry_share is None:
            return False
        if self._budget < 1:
            return True
        self._budget -= 1
        return False

    @contextlib.contextmanager
    def _through_breaker(self) -> Iterator[None]:
        if self._breaker is None:
            yield
            return
        with self._breaker.calling():
            yield

    async def _attempt(self, until_s: float | None, method: str, path: str, body: Json | None) -> dict[str, object]:
        self._metrics.attempts.labels(self.name).inc()
        end_s = asyncio.get_running_loop().time() + self._policy.attempt_s
        if until_s is not None:
            # A little sooner than the deadline itself: cut off by that, the breaker would not know that it failed.
            end_s = min(end_s, until_s - _SOONER_S)
        try:
            async with (
                asyncio.timeout_at(end_s),
                self._session.request(method, f"{self._url}{path}", json=body) as response,
            ):
                if response.status >= _SERVER_ERROR or response.status == _TOO_MANY:
                    raise self._failed(f"status_{response.status}")
                answer = await response.json(content_type=None)
                if response.status >= _CLIENT_ERROR or not isinstance(answer, dict):
                    raise ValueError(f"{self.name} answered {response.status}: {str(answer)[:200]}")
                return answer
        except TimeoutError as error:
            raise self._failed("timeout") from error
        except aiohttp.ClientError as error:
            raise self._failed("connection") from error

    def _failed(self, kind: str) -> Failed:
        self._metrics.failures.labels(self.name, kind).inc()
        return Failed(f"{self.name}: {kind}")
