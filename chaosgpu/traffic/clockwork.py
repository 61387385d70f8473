# SPDX-License-Identifier: Apache-2.0
"""An event loop whose timers keep to microseconds: epoll alone rounds each wait up to a whole millisecond."""

import asyncio
import select
import selectors
from typing import override

__all__ = ["precise_loop"]


class _PreciseSelector(selectors.EpollSelector):
    """Waits with select(2) on the epoll file itself: that takes microseconds, and the file is one however many."""

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def precise_loop() -> asyncio.SelectorEventLoop:
    """Make the loop. Make it early: select(2) takes file numbers below 1024 only."""
    return asyncio.SelectorEventLoop(_PreciseSelector())
