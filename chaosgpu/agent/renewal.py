# SPDX-License-Identifier: Apache-2.0
"""Renew leases: a live controller moves their deadline on, never beyond their hard end, and never revives one."""

from dataclasses import replace
from typing import List, Sequence

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.host import Host
from chaosgpu.agent.listing import expires_in_s
from chaosgpu.agent.mend import why_over
from chaosgpu.agent.record import State
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["renew"]

_LOCK_WAIT_S = 2.0  # a controller renews every third of the TTL: better to fail and come again than to pile up


def renew(host: Host, leases: Sequence[str], ttl_s: float) -> List[JsonValue]:
    """Renew those that are active and not over; say of each how it stands."""
    return [_renew_one(host, lease, ttl_s) for lease in leases]


def _renew_one(host: Host, lease: str, ttl_s: float) -> JsonObject:
    folder = host.folder(lease)
    state = folder.seen()
    reason = None
    if state is not None and state.state == "active":
        try:
            with folder.lock(_LOCK_WAIT_S):
                state = folder.seen() or State("unknown")
                if state.state == "active" and why_over(host, folder, state) is None:
                    deadline_s = min(host.clock.boottime_s() + ttl_s, state.end_s)
                    state = replace(state, deadline_s=deadline_s, renewals=state.renewals + 1)
                    folder.save(state)
        except AgentError as error:  # one that is busy or cannot be written keeps its deadline
            reason = str(error)
    state = state or State("unknown")
    answer: JsonObject = {
        "lease": lease,
        "state": state.state,
        "expires_in_s": expires_in_s(host, state),
        "reason": reason or state.reason,
    }
    return answer
