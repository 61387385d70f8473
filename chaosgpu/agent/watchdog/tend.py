# SPDX-License-Identifier: Apache-2.0
"""The sweep without anybody asking: by the sweep timer, by the boot unit, by cron. It says only what it changed."""

import sys
from typing import Callable, Dict, Optional, Tuple

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.host import Host
from chaosgpu.agent.mend import mend
from chaosgpu.agent.prune import prune
from chaosgpu.agent.record import ENDED
from chaosgpu.agent.watchdog.watch import BACK_OFF_S

__all__ = ["tend"]


def tend(host: Host, say: Callable[[str], object] = sys.stdout.write) -> int:
    """End what is over and bring lost keepers back; 1 where a lease is left that a person has to look at.

    An undo that fails is tried again for half a minute, since at boot the driver may come later than we do.
    """
    waiting = host.home.lease_ids()
    stands: Dict[str, str] = {}
    for wait_s in (*BACK_OFF_S, 0.0):
        for lease in waiting:
            before, stands[lease], why = _mend_one(host, lease, last_try=wait_s == 0.0)
            if before != stands[lease]:
                say(f"lease {lease}: {before} -> {stands[lease]}{why}\n")
        waiting = [lease for lease in waiting if stands[lease] == "reverting"]
        if not waiting:
            break
        host.clock.sleep(wait_s)
    prune(host)
    left = sorted(lease for lease, state in stands.items() if state in ("stuck", "reverting", "unknown"))
    if left:
        say(f"not put back: {', '.join(left)}; see `record`, mend the cause, then `undo`\n")
    return 1 if left else 0


def _mend_one(host: Host, lease: str, *, last_try: bool) -> Tuple[str, str, str]:
    """Return how the lease stood, how it stands, and why it moved; one that is broken keeps no other waiting."""
    try:
        folder = host.folder(lease)
        seen = folder.seen()
        before = "none" if seen is None else seen.state
        state = mend(host, folder, last_try=last_try)
    except AgentError as error:
        return "known", "unknown", f": {error}"
    reason: Optional[str] = None if state is None or (state.state in ENDED and before in ENDED) else state.reason
    return before, "none" if state is None else state.state, f": {reason}" if reason else ""
