# SPDX-License-Identifier: Apache-2.0
"""Names of runs and leases, and the clock that they and the ledger use; tests pass their own."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Names", "stamp"]


def _now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Names:
    """Makes names from a clock and a source of randomness: `token(n)` gives 2n hexadecimal digits."""

    now: Callable[[], datetime] = _now
    token: Callable[[int], str] = secrets.token_hex
    monotonic: Callable[[], float] = time.monotonic

    def run(self) -> str:
        """Name a run, such as 20261120T153200Z-3f9a1c: sorted by time, and no two alike."""
        return f"{self.now().astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.token(3)}"

    def lease(self) -> str:
        """Name a lease. The caller makes the name, so that a lost reply is no lost lease."""
        return f"lease-{self.token(8)}"
