# SPDX-License-Identifier: Apache-2.0
"""Steady background traffic, open loop: requests leave by the clock whatever the service does, short and long mixed.

Writes one line a second to `traffic.jsonl`. Latency counts from the intended start, so a stall cannot hide.
"""

import json
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chaosgpu.errors import AnswerWrong, BadArgument, Refused, Unreachable
from chaosgpu.lab.plan import LabPlan
from chaosgpu.lab.variants import LONG_TOKENS, SHORT_TOKENS
from chaosgpu.triton import api
from chaosgpu.triton.http import TooSlow
from chaosgpu.triton.tensors import Tensor, seeded

__all__ = ["main"]

_TIMEOUT_S = 5.0
# Short requests a second, and long ones: about a third of the four instances' time, VRAM between 0 and 12 %.
_RATES = ((6.0, SHORT_TOKENS), (2.5, LONG_TOKENS))
_PROMPTS = 6
# rate x timeout, and some: an open loop must never wait for a free worker.
_WORKERS = 64
_READY_POLL_S = 0.1
_SEED = 1


@dataclass(frozen=True)
class Request:
    """One request of the schedule."""

    at: float
    prompt: int
    inputs: tuple[Tensor, ...]


def prompts(seed: int) -> list[Tensor]:
    """Make the prompts that all requests draw from: the short ones, then the long ones."""
    rng = random.Random(seed)  # noqa: S311 (text to ask with, not a secret)
    return [seeded("TOKENS", "INT32", (1, length), rng) for _, length in _RATES for _ in range(_PROMPTS)]


def schedule(started: float, seed: int) -> Iterator[Request]:
    """Yield requests for ever, in order of time, with random gaps around the rates."""
    asked = prompts(seed)
    rng = random.Random(seed)  # noqa: S311 (a schedule, not a secret)
    due = [started + rng.expovariate(rate) for rate, _ in _RATES]
    while True:
        stream = due.index(min(due))
        prompt = stream * _PROMPTS + rng.randrange(_PROMPTS)
        yield Request(due[stream], prompt, (asked[prompt],))
        due[stream] += rng.expovariate(_RATES[stream][0])


class Series:
    """Counts by second; a second is written when it is over."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._counts = dict.fromkeys(("sent", "ok", "wrong", "rejected", "timed_out", "failed"), 0)
        self._latencies_ms: list[float] = []

    def count(self, what: str, latency_s: float | None = None) -> None:
        """Count one event of this second."""
        with self._lock:
            self._counts[what] += 1
            if latency_s is not None:
                self._latencies_ms.append(latency_s * 1000)

    def write(self, second: int) -> None:
        """Append this second's line and begin the next."""
        with self._lock:
            counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
            latencies, self._latencies_ms = sorted(self._latencies_ms), []
        line: dict[str, float | None] = {"second": second, **counts, "p50_ms": None, "p99_ms": None}
        if latencies:
            line["p50_ms"] = round(latencies[len(latencies) // 2], 1)
            line["p99_ms"] = round(latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))], 1)
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Traffic:
    """Workers that send what is due and judge every answer against the known one to the same prompt."""

    def __init__(self, url: str, series: Series, known: Sequence[tuple[Tensor, ...]]) -> None:
        self._url, self._series, self._known = url, series, known
        self._queue: deque[Request] = deque()
        self._due = threading.Semaphore(0)

    def start(self) -> None:
        """Start the workers; they end with the process."""
        for _ in range(_WORKERS):
            threading.Thread(target=self._work, daemon=True).start()

    def send(self, request: Request) -> None:
        """Hand one due request to a worker."""
        self._series.count("sent")
        self._queue.append(request)
        self._due.release()

    def _work(self) -> None:
        while True:
            self._due.acquire()
            request = self._queue.popleft()
            left = request.at + _TIMEOUT_S - time.monotonic()
            what = self._outcome(request, left) if left > 0 else "timed_out"
            self._series.count(what, min(_TIMEOUT_S, time.monotonic() - request.at))

    def _outcome(self, request: Request, within_s: float) -> str:
        try:
            outputs, _ = api.infer(self._url, "chat", request.inputs, within_s)
        except TooSlow:
            return "timed_out"
        except (AnswerWrong, Refused):
            return "rejected"
        except (Unreachable, BadArgument):
            return "failed"
        return "ok" if self._known[request.prompt] == outputs else "wrong"


def _known(url: str, prompt: Tensor) -> tuple[Tensor, ...]:
    """Ask until there is an answer: the lab is up only after the first seconds of traffic, so nothing is broken yet."""
    while True:
        with suppress(AnswerWrong, BadArgument, Refused, Unreachable):  # not ready yet
            return api.infer(url, "chat", (prompt,), _TIMEOUT_S)[0]
        time.sleep(_READY_POLL_S)


def main(directory: str) -> int:
    """Send traffic to one lab's model until ended by a signal; the supervisor bounds its life."""
    plan = LabPlan.read(Path(directory))
    if plan is None:
        return 2
    series = Series(plan.path("traffic.jsonl"))
    with ThreadPoolExecutor() as pool:
        known = list(pool.map(partial(_known, plan.url), prompts(_SEED)))
    traffic = Traffic(plan.url, series, known)
    traffic.start()
    started = time.monotonic()
    written = 0
    for request in schedule(started, _SEED):
        while True:
            next_write = started + written + 1
            time.sleep(max(0.0, min(request.at, next_write) - time.monotonic()))
            if request.at <= time.monotonic():
                break
            series.write(written)
            written += 1
        traffic.send(request)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
