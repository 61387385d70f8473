# SPDX-License-Identifier: Apache-2.0
"""Wait for something to come true, and tell how long it took."""

import time
from collections.abc import Callable

__all__ = ["wait_until"]


def wait_until(true: Callable[[], object], within_s: float = 10.0) -> float:
    """Poll until it is true; return the seconds it took, or fail."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < within_s, f"it did not come true within {within_s:g} s"
        time.sleep(0.05)
    return time.monotonic() - start
