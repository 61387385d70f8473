# SPDX-License-Identifier: Apache-2.0
"""Inside the reverter that a lease's timer starts: being started proves nothing, the record says when to act.

It comes a second early, or much too early after `daemon-reload` or a renewal: then it waits here.
"""

from chaosgpu.agent.host import Host
from chaosgpu.agent.watchdog.watch import watch

__all__ = ["due"]

_NEAR_S = 2.0
_LOOK_EVERY_S, _FAR_LOOK_EVERY_S = 0.1, 1.0


def due(host: Host, lease: str) -> int:
    """Wait for the deadline in the record, end the lease, and go; go at once if it has ended."""
    host.registry()  # loaded before the deadline, when the disk may be full or the files replaced
    watch(host, host.folder(lease), _next_look_s)
    return 0


def _next_look_s(left_s: float) -> float:
    """Look often near the deadline only: a deadline moves later and never earlier, and the keeper sees the rest."""
    return min(left_s, _FAR_LOOK_EVERY_S if left_s > _NEAR_S else _LOOK_EVERY_S)
