# SPDX-License-Identifier: Apache-2.0
"""Load on collections of ours: queries as fast as they are answered, or batches of new vectors."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from chaosgpu.errors import ChaosGpuError, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb.backends.connect import connected
from chaosgpu.vectordb.backends.contract import Backend, Row
from chaosgpu.vectordb.known_set import vector_of
from chaosgpu.vectordb.order import Order

__all__ = ["Tally", "load", "step_of"]

_PAUSE_S = 0.05
_QUESTIONS = 64
_K = 10


@dataclass
class Tally:
    """What the clients have sent, and what became of it."""

    sent: int = 0
    answered: int = 0
    rows: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    longest_ms: float = 0.0
    first: threading.Event = field(default_factory=threading.Event, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, rows: int, took_ms: float, error: ChaosGpuError | None) -> None:
        """Count one request."""
        with self.lock:
            self.sent += 1
            if error is None:
                self.answered += 1
                self.rows += rows
                self.longest_ms = max(self.longest_ms, took_ms)
            else:
                name = type(error).__name__
                self.errors[name] = self.errors.get(name, 0) + 1
        self.first.set()

    def to_json(self) -> JsonObject:
        """Return the plain JSON of the report."""
        return {
            "sent": self.sent,
            "answered": self.answered,
            "rows": self.rows,
            "errors": dict(self.errors),
            "longest_ms": round(self.longest_ms, 3),
        }


type Step = Callable[[Backend], int]


def step_of(order: Order, over: threading.Event) -> Step:
    """Return one request of a role: it returns how many rows it brought or took."""
    if order.role == "flood":
        questions = itertools.cycle([vector_of(order.seed, -1 - at, 9, order.dimension) for at in range(_QUESTIONS)])
        return lambda backend: len(backend.search(order.collection, next(questions), _K))
    numbers, lock = itertools.count(1), threading.Lock()
    body = [vector_of(order.seed, -1000 - at, 9, order.dimension) for at in range(order.batch)]

    def put(backend: Backend) -> int:
        with lock:
            rows = [Row(next(numbers), vector) for vector in body]
        if rows[-1].id > order.most_rows:
            over.set()  # as much as it may
            return 0
        backend.put(order.collection, rows)
        return len(rows)

    return put


def load(order: Order, over: threading.Event, tally: Tally) -> None:
    """Let every client ask until the time is over."""
    step, end_s = step_of(order, over), time.monotonic() + order.duration_s

    def client() -> None:
        with ExitStack() as on_failure:  # what one client did not expect ends all of them
            on_failure.callback(over.set)
            _ask(order, step, tally, over, end_s)
            on_failure.pop_all()

    with ThreadPoolExecutor(order.clients) as pool:
        for one in [pool.submit(client) for _ in range(order.clients)]:
            one.result()


def _ask(order: Order, step: Step, tally: Tally, over: threading.Event, end_s: float) -> None:
    """Be one client until the time is over."""
    with connected(order.where) as backend:
        for _ in _turns(order.rate_per_s, over, end_s):
            began = time.perf_counter()
            error: ChaosGpuError | None = None
            rows = 0
            try:
                rows = step(backend)
            except ChaosGpuError as raised:
                error = raised
                over.wait(_PAUSE_S if isinstance(raised, Unreachable) else 0.0)
            tally.add(rows, (time.perf_counter() - began) * 1000, error)


def _turns(rate_per_s: float, over: threading.Event, end_s: float) -> Iterator[None]:
    """Yield at each turn, at most so many a second."""
    due_s = time.monotonic()
    while not over.is_set() and time.monotonic() < end_s:
        yield
        if rate_per_s > 0:
            due_s = max(due_s + 1 / rate_per_s, time.monotonic())
            over.wait(max(0.0, min(due_s, end_s) - time.monotonic()))
