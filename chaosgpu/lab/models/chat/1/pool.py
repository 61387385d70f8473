# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""A block pool inside one arena of GPU memory: contiguous, first fit, and so open to fragmentation."""

BLOCKS = 64


class Pool:
    """Cuts one arena into equal blocks; a request needs its blocks side by side, as a tensor does."""

    def __init__(self, arena_bytes: int) -> None:
        self.block_bytes = max(1, arena_bytes // BLOCKS)
        self._owner: list[int] = [0] * BLOCKS  # 0: free, else the allocation's number
        self._next = 1

    def allocate(self, size: int) -> "int | None":
        """Take enough neighbouring blocks, first fit: the allocation's number, or None."""
        needed = max(1, -(-size // self.block_bytes))
        run = 0
        for block in range(BLOCKS):
            run = run + 1 if self._owner[block] == 0 else 0
            if run == needed:
                number, self._next = self._next, self._next + 1
                self._owner[block - needed + 1 : block + 1] = [number] * needed
                return number
        return None

    def free(self, number: int) -> None:
        """Give the blocks of an allocation back."""
        self._owner = [0 if owner == number else owner for owner in self._owner]

    def free_bytes(self) -> int:
        """Count all free bytes, wherever they lie."""
        return self._owner.count(0) * self.block_bytes

    def largest_free_bytes(self) -> int:
        """Return the longest run of free blocks: the largest request that can be served."""
        longest = run = 0
        for owner in self._owner:
            run = run + 1 if owner == 0 else 0
            longest = max(longest, run)
        return longest * self.block_bytes
