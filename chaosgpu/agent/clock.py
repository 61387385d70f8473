# SPDX-License-Identifier: Apache-2.0
"""Time as the host counts it. Deadlines use CLOCK_BOOTTIME of one boot; the wall clock is only shown."""

import time
from dataclasses import dataclass
from typing import Protocol

from chaosgpu.agent import process
from chaosgpu.agent.errors import StoreFailed

__all__ = ["BOOT_ID", "Boot", "Clock", "SystemClock", "current_boot", "rfc3339"]

BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Clock(Protocol):
    """What the lease machine asks of time; passed in, so that tests are exact."""

    def boottime_s(self) -> float:
        """Seconds of CLOCK_BOOTTIME: counts through suspend, starts again at boot."""

    def wall_s(self) -> float:
        """Seconds since 1970, for showing and for `inject_at` only."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The host's own clocks."""

    def boottime_s(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait; a negative time is no wait."""
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class Boot:
    """One start of this host: a container that reboots keeps the boot id, so PID 1's start time (ticks) counts too."""

    boot_id: str
    init_start: int


def current_boot() -> Boot:
    """Return which start of the host this is; StoreFailed where the kernel does not say."""
    try:
        with open(BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            boot_id = file.read().strip()
    except OSError as error:
        raise StoreFailed(f"{BOOT_ID} cannot be read ({error.strerror}), so no deadline would be safe here.") from error
    init_start = process.start_time(1)
    if init_start is None:
        raise StoreFailed("The start time of PID 1 cannot be read from /proc/1/stat, so a reboot would go unnoticed.")
    return Boot(boot_id, init_start)


def rfc3339(wall_s: float) -> str:
    """Show a wall clock time as RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(round(wall_s * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"
