# SPDX-License-Identifier: Apache-2.0
"""The two ways the lab's service can be set up, and how its model's memory is measured against the GPU."""

from dataclasses import dataclass

from chaosgpu.errors import LabFailed

__all__ = ["CANARY_ROWS", "CANARY_TOKENS", "LONG_TOKENS", "SHORT_TOKENS", "VARIANTS", "Variant", "kv_bytes_per_token"]

# The canary is 16 rows of 8 tokens; at 0.4 % of the GPU for it, a context of 960 tokens takes 3 %.
CANARY_ROWS = 16
CANARY_TOKENS = 8
SHORT_TOKENS = 16
LONG_TOKENS = 960
_CANARY_SHARE = 0.004


@dataclass(frozen=True)
class Variant:
    """How the model waits for memory, and whether its queue has an end."""

    name: str
    max_wait_s: float | None
    max_queue_size: int | None
    queue_timeout_us: int | None


VARIANTS = {
    # The incident: a request that finds no memory waits without end and keeps its place; nothing is ever refused.
    "fragile": Variant("fragile", max_wait_s=None, max_queue_size=None, queue_timeout_us=None),
    # Fail fast: 0.2 s for memory, 16 requests in the queue, half a second there.
    "hardened": Variant("hardened", max_wait_s=0.2, max_queue_size=16, queue_timeout_us=500_000),
}


def variant(name: str) -> Variant:
    """Return a variant by name."""
    if name not in VARIANTS:
        raise LabFailed(f"There is no variant {name!r} of the lab's service; there is: {', '.join(VARIANTS)}.")
    return VARIANTS[name]


def kv_bytes_per_token(gpu_memory_bytes: int) -> int:
    """Size the KV cache by the GPU: 2.6 MB a token on 80 GB, as a 70-billion-parameter model without sharing has."""
    return int(gpu_memory_bytes * _CANARY_SHARE / (CANARY_ROWS * CANARY_TOKENS))
