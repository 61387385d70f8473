# SPDX-License-Identifier: Apache-2.0
"""Which backend this host has. Only the keeper process so far; systemd units come beside it."""

from typing import Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.watchdog.deadline import Deadline
from chaosgpu.agent.watchdog.keeper import Keeper

__all__ = ["choose"]


def choose(command: Tuple[str, ...], clock: Clock) -> Deadline:
    """Return the best backend that this host can have."""
    return Keeper(command, clock)
