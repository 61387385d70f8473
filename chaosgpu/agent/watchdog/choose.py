# SPDX-License-Identifier: Apache-2.0
"""Which backends this host has, found by looking at it."""

import os
from typing import Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.home import Home
from chaosgpu.agent.systemd import find_systemd, no_systemd
from chaosgpu.agent.watchdog.deadline import Deadline
from chaosgpu.agent.watchdog.together import Together

__all__ = ["choose"]


def choose(command: Tuple[str, ...], clock: Clock, home: Home) -> Deadline:
    """Return them; systemd is used by root for the host's own leases only, never for a lab or a user's own folder."""
    own = not home.limited and os.geteuid() == 0
    return Together(command, clock, find_systemd if own else no_systemd)
