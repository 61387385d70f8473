# SPDX-License-Identifier: Apache-2.0
"""Tolerances for probes of drift: each takes the probe's `value` and never raises; what is strange to it is no."""

from typing import Any

__all__ = ["drifted_only_in", "support_at_least"]


def drifted_only_in(value: dict[str, Any], keys: list[str]) -> bool:
    """Permit differences of `drift_report` in these values alone (`packages.*` is all packages), and nothing unread.

    {"type": "probe", "name": "only the driver may differ",
     "provider": {"type": "python", "module": "chaosgpu.cuda.tolerances", "func": "drifted_only_in",
                  "arguments": {"keys": ["driver.*", "packages.libnvidia-*"]}}}
    A finding that breaks something counts as drift unless every value that it names is permitted.
    """
    from chaosgpu.cuda import judged  # noqa: PLC0415 (validation imports every named module)

    return judged.drifted_only_in(value, keys)


def support_at_least(value: dict[str, Any], least: str) -> bool:
    """Permit an answer of `cuda_support` that is this good or better: full, minor or forward; unknown is never enough.

    {"type": "probe", "name": "the driver was made for this CUDA",
     "provider": {"type": "python", "module": "chaosgpu.cuda.tolerances", "func": "support_at_least",
                  "arguments": {"least": "full"}}}
    """
    from chaosgpu.cuda import judged  # noqa: PLC0415 (validation imports every named module)

    return judged.support_at_least(value, least)
