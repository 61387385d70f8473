# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""The KV cache of a request: taken before the work, held while it runs, given back after it."""

import time
from dataclasses import dataclass

from pool import Pool
from vram import Gpu

_POLL_S = 0.02


class NoMemory(RuntimeError):
    """The cache did not fit; the request is refused."""


@dataclass(frozen=True)
class Ticket:
    """What a request holds, and when it may be given back (monotonic seconds; 0: right after the answer)."""

    number: int
    size: int
    until: float = 0.0


class DirectCache:
    """Every cache is an allocation of the GPU's own memory."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def take(self, size: int, max_wait_s: "float | None") -> Ticket:
        """Allocate, waiting for memory at most `max_wait_s`; None waits without end, which is the incident."""
        started = time.monotonic()
        while True:
            address = self._gpu.allocate(size)
            if address is not None:
                return Ticket(address, size)
            waited = time.monotonic() - started
            if max_wait_s is not None and waited >= max_wait_s:
                raise NoMemory(f"no GPU memory for a KV cache of {size >> 20} MiB within {max_wait_s:g} s, refused")
            time.sleep(_POLL_S)

    def give_back(self, ticket: Ticket) -> None:
        """Free the allocation."""
        self._gpu.free(ticket.number)

    def close(self) -> None:
        """Nothing is kept between requests."""


class PooledCache:
    """Caches are runs of blocks in one arena, and a context may stay for its session: so the arena fragments."""

    def __init__(self, gpu: Gpu, arena_bytes: int) -> None:
        self._gpu = gpu
        arena = gpu.allocate(arena_bytes)
        if arena is None:
            raise NoMemory(f"no GPU memory for the pool's arena of {arena_bytes >> 20} MiB")
        self._arena = arena
        self._kept: list[Ticket] = []
        self.pool = Pool(arena_bytes)

    def take(self, size: int, max_wait_s: "float | None") -> Ticket:  # noqa: ARG002 (a pool that is too broken up does not heal by waiting)
        """Take neighbouring blocks, or say how much is free in all and how much of it hangs together."""
        self._expire()
        number = self.pool.allocate(size)
        if number is None:
            raise NoMemory(
                f"no {size >> 20} MiB in one piece: {self.pool.free_bytes() >> 20} MiB are free in the pool, "
                f"the largest piece is {self.pool.largest_free_bytes() >> 20} MiB"
            )
        return Ticket(number, size)

    def keep(self, ticket: Ticket, keep_s: float) -> None:
        """Keep a session's context for its next turn."""
        self._kept.append(Ticket(ticket.number, ticket.size, time.monotonic() + keep_s))

    def _expire(self) -> None:
        now = time.monotonic()
        for ticket in [kept for kept in self._kept if kept.until <= now]:
            self.pool.free(ticket.number)
            self._kept.remove(ticket)

    def give_back(self, ticket: Ticket) -> None:
        """Free the blocks."""
        self.pool.free(ticket.number)

    def close(self) -> None:
        """Give the arena back."""
        self._gpu.free(self._arena)
