# SPDX-License-Identifier: Apache-2.0
"""The open loop: sends each request when it is due, whatever became of the others, and counts how each one ended."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chaosgpu.traffic.connection import Broken, Connection
from chaosgpu.traffic.plan import TrafficPlan
from chaosgpu.traffic.prompt import Prompt, Reply
from chaosgpu.traffic.schedule import due_times_s
from chaosgpu.traffic.tally import Second

__all__ = ["NOT_SENT", "Sender"]

NOT_SENT = "not_sent"
_SHEDDING = frozenset({429, 503})
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
# So many are sent before answers are read again, when many are due at once.
_BURST = 32
_SWEEP_S = 0.01
# Servers close connections that stood idle for long; one that stood longer is not used again.
_IDLE_S = 4.0


@dataclass(eq=False)
class _Exchange:
    """One request under way."""

    due_s: float
    second: Second
    prompt: Prompt
    sent_s: float
    over: bool = False
    connection: Connection | None = None


class Sender:
    """Sends one plan's requests on an event loop; `write` gets each second's line, in order."""

    def __init__(
        self,
        plan: TrafficPlan,
        prompts: Sequence[Prompt],
        address: tuple[str, int],
        connections_most: int,
        write: Callable[[Second], None],
    ) -> None:
        self._plan, self._prompts, self._write = plan, prompts, write
        self._most = connections_most
        self._address = address
        self._rng = random.Random(plan.seed)  # noqa: S311 (an order of requests, not a secret)
        self._idle: list[Connection] = []
        self._under_way: deque[_Exchange] = deque()
        self._open = 0
        self._seconds: deque[Second] = deque()
        self._begun = 0
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send from now on until the schedule ends or `stop` is called, and wait for what is under way."""
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._done = self._loop.create_future()
        self._due: Iterator[float] = due_times_s(
            self._plan.rate_per_s, self._plan.duration_s, self._plan.arrival, self._rng
        )
        self._next = next(self._due, None)
        self._tick()
        self._sweep()
        await self._done
        for task in self._opening:
            task.cancel()
        for connection in self._idle:
            connection.abort()

    def stop(self) -> None:
        """Send nothing more; what is under way is waited for."""
        self._next = None

    def _tick(self) -> None:
        """Send what is due, and come again when the next is."""
        for _ in range(_BURST):
            if self._next is None:
                return
            now_s = self._loop.time() - self._started_s
            if self._next > now_s:
                break
            self._send(self._next, now_s)
            self._next = next(self._due, None)
        if self._next is not None:
            self._loop.call_at(self._started_s + self._next, self._tick)

    def _send(self, due_s: float, now_s: float) -> None:
        self._begin_seconds(int(due_s) + 1)
        second = self._seconds[-1]
        second.due += 1
        late_s = now_s - due_s
        second.late_most_s = max(second.late_most_s, late_s)
        second.late += late_s * 1000 > self._plan.late_ms
        if self._open >= self._most:
            second.errors[NOT_SENT] += 1
            return
        second.open += 1
        self._open += 1
        exchange = _Exchange(due_s, second, self._rng.choice(self._prompts), now_s)
        self._under_way.append(exchange)
        connection = self._idle_connection(now_s)
        if connection is not None:
            self._hand_over(exchange, connection)
            return
        task = self._loop.create_task(self._open_for(exchange))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _idle_connection(self, now_s: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and now_s - connection.idle_since_s < _IDLE_S:
                return connection
            connection.abort()
        return None

    async def _open_for(self, exchange: _Exchange) -> None:
        try:
            async with asyncio.timeout(self._plan.timeout_s + 1):
                _, connection = await self._loop.create_connection(Connection, *self._address)
        except OSError:
            self._ended(exchange, Broken("unreachable"))
            return
        if exchange.over:  # it timed out while the connection was opened: the next one may have it
            self._give_back(connection)
        else:
            self._hand_over(exchange, connection)

    def _hand_over(self, exchange: _Exchange, connection: Connection) -> None:
        def ended(this: Connection, how: Reply | Broken) -> None:
            exchange.connection = None
            if not this.closed:
                self._give_back(this)
            self._ended(exchange, how)

        exchange.connection = connection
        connection.send(exchange.prompt.request, ended)

    def _give_back(self, connection: Connection) -> None:
        connection.idle_since_s = self._loop.time() - self._started_s
        self._idle.append(connection)

    def _ended(self, exchange: _Exchange, how: Reply | Broken) -> None:
        if exchange.over:
            return
        exchange.over = True
        self._open -= 1
        now_s = self._loop.time() - self._started_s
        second = exchange.second
        second.open -= 1
        kind = self._kind(exchange, how)
        if isinstance(how, Reply):
            second.statuses[how.status] += 1
        if isinstance(how, Reply) or kind == "timed_out":
            second.answered_most_s = max(second.answered_most_s, now_s - exchange.sent_s)
        if kind is None:
            second.ok += 1
        else:
            second.errors[kind] += 1
        # A quick refusal is no quick answer: only answers and timeouts have a latency.
        if kind in (None, "wrong", "timed_out"):
            timed_out = kind == "timed_out"
            second.latencies_s.append(self._plan.timeout_s if timed_out else now_s - exchange.due_s)
            if not timed_out:
                second.service_s.append(now_s - exchange.sent_s)

    def _kind(self, exchange: _Exchange, how: Reply | Broken) -> str | None:
        """Name the kind of error; None for a right answer."""
        if isinstance(how, Broken):
            return str(how)
        if how.status != exchange.prompt.wanted_status:
            if how.status in _SHEDDING:
                return "rejected"
            if how.status >= _SERVER_ERROR:
                return "server_error"
            return "client_error" if how.status >= _CLIENT_ERROR else "wrong_status"
        why = exchange.prompt.why_wrong(how)
        if why is None:
            return None
        exchange.second.wrong_because = exchange.second.wrong_because or why
        return "wrong"

    def _begin_seconds(self, until: int) -> None:
        self._seconds.extend(Second(number) for number in range(self._begun, until))
        self._begun = max(self._begun, until)

    def _sweep(self) -> None:
        """End what has had its time, and write the seconds that are over."""
        now_s = self._loop.time() - self._started_s
        while self._under_way and (self._under_way[0].over or self._timed_out(self._under_way[0], now_s)):
            self._under_way.popleft()
        ended = self._next is None and not self._under_way
        over_s = now_s if self._next is None else min(now_s, self._next)
        self._begin_seconds(int(over_s))
        while self._seconds and not self._seconds[0].open and (ended or self._seconds[0].number + 1 <= over_s):
            self._write(self._seconds.popleft())
        if ended:
            self._done.set_result(None)
        else:
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _timed_out(self, exchange: _Exchange, now_s: float) -> bool:
        if now_s < exchange.due_s + self._plan.timeout_s:
            return False
        connection, exchange.connection = exchange.connection, None
        if connection is not None:
            connection.abort()
        self._ended(exchange, Broken("timed_out"))
        return True
