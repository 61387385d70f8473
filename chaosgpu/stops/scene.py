# SPDX-License-Identifier: Apache-2.0
"""What a stop condition may know of the run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chaoslib.types import Configuration, Secrets

from chaosgpu.lease.book import Lease

__all__ = ["Scene"]


def _no_leases() -> Sequence[Lease]:
    return ()


@dataclass(frozen=True)
class Scene:
    """The experiment with its configuration and secrets, the leases of the run, and the time since it began."""

    experiment: Mapping[str, object]
    configuration: Configuration = field(default_factory=dict)
    secrets: Secrets = field(default_factory=dict)
    leases: Callable[[], Sequence[Lease]] = _no_leases
    now: Callable[[], float] = time.monotonic
    started_s: float = field(default_factory=time.monotonic)
