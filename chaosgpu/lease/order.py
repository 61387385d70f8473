# SPDX-License-Identifier: Apache-2.0
"""What one host is asked for: a fault as one lease."""

from dataclasses import dataclass

from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.renewal import Way
from chaosgpu.lease.together import Start

__all__ = ["Order"]


@dataclass(frozen=True)
class Order:
    """What is asked of a host."""

    lease: str
    host: str
    fault: str
    params: JsonObject
    ttl_s: float
    longest_s: float
    # None: it is not renewed, and ends when its time is over.
    way: Way | None
    timeout_s: float
    # None: at once.
    start: Start | None = None

    @property
    def within_s(self) -> float:
        """How long the host may take, its wait for the instant included."""
        return self.timeout_s + (0.0 if self.start is None else self.start.lead_s)
