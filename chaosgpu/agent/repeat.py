# SPDX-License-Identifier: Apache-2.0
"""What an order is answered whose lease id is there already: its reply was lost, or the id is used up.

That no id is applied twice does not hang on this: `apply` reserves under the lock, and only where there is no record.
"""

from typing import Optional

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.mend import mend
from chaosgpu.agent.order import Order
from chaosgpu.agent.record import State

__all__ = ["repeated"]

_OTHER_APPLY_WITHIN_S = 60.0
_STEP_S = 0.01


def repeated(host: Host, folder: LeaseFolder, order: Order) -> Optional[State]:
    """Return the lease that an earlier apply with this id made; refuse an id that is used up or somebody else's."""
    state = folder.seen()
    until_s = host.clock.boottime_s() + _OTHER_APPLY_WITHIN_S
    while state is not None and state.state in ("reserved", "armed") and host.clock.boottime_s() < until_s:
        if not folder.being_applied():
            state = mend(host, folder)
            break
        host.clock.sleep(_STEP_S)
        state = folder.seen()
    if state is None:
        return None
    if state.state == "tombstone":
        raise Refused(f"Lease {order.lease} was undone before it arrived, so it is not applied.", order.lease)
    if state.state == "active" and state.request_sha256 == order.sha256:
        return state
    if state.request_sha256 != order.sha256:
        raise Refused(f"Lease {order.lease} exists with other parameters: use a new id.", order.lease)
    reason = f" ({state.reason})" if state.reason else ""
    raise Refused(f"Lease {order.lease} is {state.state}{reason} and is never applied again.", order.lease)
