# SPDX-License-Identifier: Apache-2.0
"""Inject at one instant on many hosts: the only place where the wall clock counts, and it is read once."""

from dataclasses import dataclass
from typing import Callable, Optional

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.order import Order

__all__ = ["StartAt"]

LATE_S = 0.05  # the offset between two hosts' clocks that is refused, too
_FURTHEST_S = 60.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class StartAt:
    """The instant in this host's CLOCK_BOOTTIME; None: at once."""

    boottime_s: Optional[float]

    @classmethod
    def parse(cls, clock: Clock, order: Order) -> "StartAt":
        """Turn `inject_at` into this host's CLOCK_BOOTTIME; refuse one that has passed or is too far away."""
        if order.inject_at_s is None:
            return cls(None)
        ahead_s = order.inject_at_s - clock.wall_s()
        furthest_s = min(_FURTHEST_S, order.ttl_s / 2)
        if ahead_s < -LATE_S:
            raise Refused(f"inject_at was {-ahead_s:.3f} s ago by this host's clock: choose a later instant.")
        if ahead_s > furthest_s:
            raise Refused(
                f"inject_at is {ahead_s:.3f} s ahead; with ttl_s {order.ttl_s:g} at most {furthest_s:g} s are possible."
            )
        return cls(clock.boottime_s() + ahead_s)

    def wait(self, clock: Clock, still_wanted: Callable[[], object]) -> None:
        """Wait for the instant; `still_wanted` raises if the lease was ended meanwhile. Late is refused."""
        if self.boottime_s is None:
            return
        while True:
            still_wanted()
            left_s = self.boottime_s - clock.boottime_s()
            if left_s < -LATE_S:
                raise Refused(f"Everything was ready {-left_s:.3f} s after inject_at: choose a later instant.")
            if left_s <= 0:
                return
            clock.sleep(min(left_s, _LOOK_EVERY_S))

    def skew_s(self, clock: Clock) -> Optional[float]:
        """Return how late the injection is, in seconds."""
        return None if self.boottime_s is None else round(clock.boottime_s() - self.boottime_s, 6)
