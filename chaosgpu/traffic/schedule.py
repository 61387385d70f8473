# SPDX-License-Identifier: Apache-2.0
"""When each request is due, by the clock alone: what the service does has no say in it."""

import random
from collections.abc import Iterator

from chaosgpu.traffic.plan import Arrival

__all__ = ["due_times_s"]


def due_times_s(rate_per_s: float, duration_s: float, arrival: Arrival, rng: random.Random) -> Iterator[float]:
    """Yield the seconds from the start at which requests are due: at equal gaps, or as a Poisson process."""
    if arrival == "steady":
        count = 0
        # Each from the count, not from the one before: no error adds up.
        while (at := count / rate_per_s) < duration_s:
            yield at
            count += 1
        return
    at = rng.expovariate(rate_per_s)
    while at < duration_s:
        yield at
        at += rng.expovariate(rate_per_s)
