# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Triton's Python backend finds these files by their folder)
"""A KV cache that is taken once, at start, as a share of the GPU's memory, and handed out in blocks of tokens.

So vLLM (`--gpu-memory-utilization`) and TensorRT-LLM (`kv_cache_free_gpu_mem_fraction`) do: what is free on the GPU
later changes nothing, and how many blocks there are is known from the start on.
"""

from cache import NoMemory, Ticket
from vram import Gpu

SHARE = "LAB_KV_CACHE_SHARE"  # of the GPU's memory, 0 to 1; each instance takes its part
BLOCK_TOKENS = 16


class PreallocatedCache:
    """Blocks need not lie side by side: a request is refused where it needs more than there are."""

    def __init__(self, gpu: Gpu, share: float, instances: int, bytes_per_token: int) -> None:
        self._gpu, self._block_bytes = gpu, BLOCK_TOKENS * bytes_per_token
        self.blocks = int(gpu.total() * share / instances) // self._block_bytes
        arena = gpu.allocate(self.blocks * self._block_bytes) if self.blocks else None
        if arena is None:
            raise NoMemory(f"no GPU memory for a KV cache of {self.blocks} blocks, a share of {share:g}")
        self._arena = arena
        self.free_blocks = self.blocks

    def take(self, size: int, max_wait_s: "float | None") -> Ticket:  # noqa: ARG002 (an instance works one batch: nobody would give any back)
        """Take as many blocks as the size needs, or say how many there are."""
        needed = -(-size // self._block_bytes)
        if needed > self.blocks:
            raise NoMemory(f"the context needs {needed} blocks of the KV cache, and it has {self.blocks} in all")
        if needed > self.free_blocks:
            raise NoMemory(f"{needed} blocks of the KV cache are wanted, and {self.free_blocks} are free")
        self.free_blocks -= needed
        return Ticket(needed, size)

    def give_back(self, ticket: Ticket) -> None:
        """Free the blocks."""
        self.free_blocks += ticket.number

    def close(self) -> None:
        """Give the whole cache back."""
        self._gpu.free(self._arena)
