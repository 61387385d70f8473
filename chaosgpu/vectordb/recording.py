# SPDX-License-Identifier: Apache-2.0
"""Writers and readers that keep a history: each row has one writer, and a row whose fate is unknown is left alone."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from chaosgpu.errors import AnswerWrong, BadArgument, ChaosGpuError, NotReached, Refused, Unreachable
from chaosgpu.vectordb.backends.contract import Backend, Row
from chaosgpu.vectordb.history import Identifier, Recorder, Seen

__all__ = ["Plan", "Session", "Tally", "outcome_of", "seen_rows"]

# After nobody answered, so that a database that is down is not asked in a tight loop.
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Plan:
    """Who writes how much. Rows are dealt out to writers by their number; `rate_per_s` is that of one client."""

    seed: int
    dimension: int
    duration_s: float
    writers: int = 2
    readers: int = 1
    batch: int = 4
    rate_per_s: float = 20.0
    # How many writes each writer asks for at most; readers end with the writers.
    most_writes: int | None = None


@dataclass
class Tally:
    """How many questions ended how."""

    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, outcome: str, error: ChaosGpuError | None) -> None:
        """Count one."""
        with self.lock:
            setattr(self, outcome, getattr(self, outcome) + 1)
            if error is not None:
                name = type(error).__name__
                self.errors[name] = self.errors.get(name, 0) + 1


def outcome_of(error: ChaosGpuError) -> str:
    """Say what became of a write that raised: only what was certainly not done has failed."""
    if isinstance(error, NotReached | BadArgument | Refused):
        return "failed"
    return "unknown"


def seen_rows(rows: Sequence[Row], asked: Sequence[int], known: Identifier) -> list[tuple[int, tuple[Seen, ...]]]:
    """Return for each row that was asked for what came back of it."""
    by_row: dict[int, list[Seen]] = {one: [] for one in asked}
    for row in rows:
        by_row.setdefault(row.id, []).append(known.identify(row.vector))
    return [(one, tuple(found)) for one, found in by_row.items()]


class _Shared:
    """What writers and readers know together: the vectors, and which rows there are."""

    def __init__(self, plan: Plan) -> None:
        self.known = Identifier(plan.seed, plan.dimension)
        self.lock = threading.Lock()
        self.rows: list[int] = []

    def vector(self, row: int, version: int) -> Row:
        with self.lock:
            return Row(row, self.known.expect(row, version))

    def some(self, rng: random.Random, count: int) -> list[int]:
        with self.lock:
            return rng.sample(self.rows, min(count, len(self.rows)))

    def add(self, row: int) -> None:
        with self.lock:
            self.rows.append(row)

    def identify(self, rows: Sequence[Row], asked: Sequence[int]) -> list[tuple[int, tuple[Seen, ...]]]:
        with self.lock:
            return seen_rows(rows, asked, self.known)


class _Writer:
    """Puts new rows, puts over old ones, deletes, puts again what it deleted; never again after an unknown outcome."""

    def __init__(self, number: int, plan: Plan, shared: _Shared, recorder: Recorder) -> None:
        self._number, self._plan, self._shared, self._recorder = number, plan, shared, recorder
        self._rng = random.Random(f"{plan.seed}/writer/{number}")  # noqa: S311 (the same every time, not a secret)
        self._next = 0
        self._version: dict[int, int] = {}
        self._there: set[int] = set()
        self._deleted: set[int] = set()

    def step(self, backend: Backend, collection: str) -> tuple[str, ChaosGpuError | None]:
        do, rows = self._choose()
        pairs = [(row, self._bump(row) if do == "put" else 0) for row in rows]
        op = self._recorder.asked(do, pairs)
        error: ChaosGpuError | None = None
        try:
            if do == "put":
                backend.put(collection, [self._shared.vector(row, version) for row, version in pairs])
            else:
                backend.delete(collection, rows)
            outcome = "acknowledged"
        except ChaosGpuError as raised:
            outcome, error = outcome_of(raised), raised
        self._recorder.ended(op, outcome)
        self._learn(do, rows, outcome)
        return outcome, error

    def _choose(self) -> tuple[str, list[int]]:
        lot, count = self._rng.random(), self._rng.randint(1, self._plan.batch)
        for limit, do, pool in ((0.15, "delete", self._there), (0.2, "put", self._deleted), (0.45, "put", self._there)):
            if lot < limit and len(pool) >= count:
                return do, self._rng.sample(sorted(pool), count)
        rows = [(self._next + at) * self._plan.writers + self._number + 1 for at in range(count)]
        self._next += count
        for row in rows:
            self._shared.add(row)
        return "put", rows

    def _bump(self, row: int) -> int:
        self._version[row] = self._version.get(row, 0) + 1
        return self._version[row]

    def _learn(self, do: str, rows: Sequence[int], outcome: str) -> None:
        if outcome == "failed":
            return
        for pool in (self._there, self._deleted):
            pool.difference_update(rows)
        if outcome == "acknowledged":
            (self._there if do == "put" else self._deleted).update(rows)


class _Reader:
    """Reads rows that some writer has begun."""

    def __init__(self, number: int, plan: Plan, shared: _Shared, recorder: Recorder) -> None:
        self._plan, self._shared, self._recorder = plan, shared, recorder
        self._rng = random.Random(f"{plan.seed}/reader/{number}")  # noqa: S311 (as above)

    def step(self, backend: Backend, collection: str) -> tuple[str, ChaosGpuError | None] | None:
        rows = self._shared.some(self._rng, self._plan.batch)
        if not rows:
            return None
        op = self._recorder.asked("get", [(row, 0) for row in rows])
        try:
            found = backend.get(collection, rows)
        except ChaosGpuError as error:
            self._recorder.ended(op, outcome_of(error))
            return None
        self._recorder.ended(op, "acknowledged", self._shared.identify(found, rows))
        return None


@dataclass(frozen=True)
class Session:
    """Clients on one collection; each has a thread and a connection of its own."""

    plan: Plan
    collection: str
    connect: Callable[[], Backend]
    recorder: Recorder
    over: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], float] = time.monotonic

    def run(self) -> Tally:
        """Write and read until the time is over or `over` is set; whatever a client did not expect ends all of them."""
        shared, tally = _Shared(self.plan), Tally()
        clients: list[_Writer | _Reader] = [
            *(_Writer(number, self.plan, shared, self.recorder) for number in range(self.plan.writers)),
            *(_Reader(number, self.plan, shared, self.recorder) for number in range(self.plan.readers)),
        ]
        end_s = self.now() + self.plan.duration_s

        def work(client: _Writer | _Reader) -> None:
            with ExitStack() as on_failure:
                on_failure.callback(self.over.set)
                self._work(client, tally, end_s)
                on_failure.pop_all()

        with ThreadPoolExecutor(len(clients)) as pool:
            working = [pool.submit(work, one) for one in clients]
            try:
                for one in working[: self.plan.writers]:
                    one.result()
            finally:
                self.over.set()
            for one in working:
                one.result()
        return tally

    def _work(self, client: _Writer | _Reader, tally: Tally, end_s: float) -> None:
        backend, due_s, left = self.connect(), self.now(), self.plan.most_writes
        try:
            while not self.over.is_set() and self.now() < end_s and left != 0:
                told = client.step(backend, self.collection)
                if left is not None and isinstance(client, _Writer):
                    left -= 1
                if told is not None:
                    tally.add(*told)
                nobody = told is not None and isinstance(told[1], Unreachable | AnswerWrong)
                due_s = max(due_s + 1 / self.plan.rate_per_s, self.now() + (_PAUSE_S if nobody else 0.0))
                self.over.wait(max(0.0, min(due_s, end_s) - self.now()))
        finally:
            backend.close()
