# SPDX-License-Identifier: Apache-2.0
"""`python gateway TRITON_URL STORE_URL COLLECTION POLICY PORT`: POST /ask, GET /health, GET /metrics on 127.0.0.1."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import aiohttp
import pybreaker
from aiohttp import web
from metrics import Metrics
from policy import POLICIES, Policy
from prometheus_client import generate_latest
from steps import Steps
from upstream import Failed, Upstream

_OK, _BAD, _FAILED, _UNAVAILABLE, _TOO_LATE = 200, 400, 502, 503, 504
_LONGEST_QUESTION = 500
STEPS = web.AppKey("steps", Steps)


class Gateway:
    """Answers requests; what goes wrong has a status of its own."""

    def __init__(self, policy: Policy, metrics: Metrics) -> None:
        self._policy, self._metrics = policy, metrics
        self._under_way = 0

    async def ask(self, request: web.Request) -> web.Response:
        """Answer one question, or say quickly that it will not be answered."""
        most = self._policy.concurrency_most
        if most is not None and self._under_way >= most:
            self._metrics.shed.inc()
            return self._said(_UNAVAILABLE, {"error": "too many requests are under way"})
        self._under_way += 1
        self._metrics.under_way.set(self._under_way)
        began = time.monotonic()
        try:
            return self._said(*await self._answered(request))
        finally:
            self._under_way -= 1
            self._metrics.under_way.set(self._under_way)
            self._metrics.seconds.observe(time.monotonic() - began)

    async def _answered(self, request: web.Request) -> tuple[int, dict[str, object]]:
        until_s = None
        if self._policy.deadline_s is not None:
            until_s = asyncio.get_running_loop().time() + self._policy.deadline_s
        try:
            async with asyncio.timeout_at(until_s):
                asked = await request.json()
                question = asked.get("question") if isinstance(asked, dict) else None
                if not isinstance(question, str) or not 0 < len(question) <= _LONGEST_QUESTION:
                    return _BAD, {"error": f"question must be a text of 1 to {_LONGEST_QUESTION} characters"}
                return _OK, await request.app[STEPS].answer(question, until_s)
        except TimeoutError:
            return _TOO_LATE, {"error": "the deadline passed"}
        except pybreaker.CircuitBreakerError as error:
            return _UNAVAILABLE, {"error": f"not asked: {error}"}
        except Failed as error:
            return _FAILED, {"error": str(error)}
        except ValueError as error:
            return _FAILED, {"error": f"not understood: {error}"}

    def _said(self, status: int, document: dict[str, object]) -> web.Response:
        self._metrics.requests.labels(str(status)).inc()
        return web.json_response(document, status=status)

    async def health(self, _request: web.Request) -> web.Response:
        """Say that the process is there, as most services do: it says nothing about what it depends on."""
        return web.json_response({"status": "ok"})

    async def show(self, _request: web.Request) -> web.Response:
        """Show the metrics."""
        return web.Response(body=generate_latest(self._metrics.registry), content_type="text/plain")


def application(triton: str, store: str, collection: str, policy: Policy) -> web.Application:
    """Build the application."""
    metrics = Metrics()
    gateway = Gateway(policy, metrics)
    app = web.Application()
    app.add_routes(
        [web.post("/ask", gateway.ask), web.get("/health", gateway.health), web.get("/metrics", gateway.show)]
    )

    async def steps(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)  # a limit here would be a queue that nobody sees
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout()) as session:
            ups = [
                Upstream(name, url, session, policy, metrics)
                for name, url in (("embed", triton), ("store", store), ("chat", triton))
            ]
            app[STEPS] = Steps(*ups, collection)
            yield

    app.cleanup_ctx.append(steps)
    return app


def main() -> None:
    """Serve until a signal ends it."""
    triton, store, collection, policy, port = sys.argv[1:]
    app = application(triton, store, collection, POLICIES[policy])
    web.run_app(app, host="127.0.0.1", port=int(port), print=None, access_log=None, shutdown_timeout=0.5)


if __name__ == "__main__":
    main()
