# SPDX-License-Identifier: Apache-2.0
"""How much memory to take and in which blocks: arithmetic over a device, so that a test can give it any device."""

from typing import Callable, Protocol, Tuple

__all__ = ["GRANULE", "LARGEST_BLOCK", "Hoard", "Memory", "leak_due"]

MIB = 1 << 20
GRANULE = 2 * MIB  # the driver gives out device memory in pages of this size
LARGEST_BLOCK = 1024 * MIB  # small enough that one bad guess about what is free costs little


class Memory(Protocol):
    """What a hoard needs of a device."""

    def memory(self) -> Tuple[int, int]:
        """Return free and total bytes."""

    def allocate(self, size: int) -> bool:
        """Take a block; False where there is not that much in one piece."""


def leak_due(rate_bytes_s: float, elapsed_s: float, ceiling_bytes: int) -> int:
    """Return what a constant rate has brought by now, never over the ceiling."""
    return min(int(rate_bytes_s * elapsed_s), ceiling_bytes)


class Hoard:
    """Blocks of device memory that only grow, and stop where exactly so much is left free."""

    def __init__(self, device: Memory, goal_free: int) -> None:
        self._device = device
        self.goal_free = goal_free
        self.held = 0

    def take(self, most: int, over: Callable[[], bool]) -> int:
        """Take at most so many bytes, in large blocks and then smaller ones; return how many it took.

        What is free is read before each block: others allocate at the same time, and what they need above the level
        is theirs.
        """
        taken, block = 0, LARGEST_BLOCK
        while taken + GRANULE <= most and not over():
            room = min(self._device.memory()[0] - self.goal_free, most - taken)
            block = min(block, room - room % GRANULE)
            if block < GRANULE:
                break
            if self._device.allocate(block):
                taken += block
            else:
                block //= 2
        self.held += taken
        return taken
