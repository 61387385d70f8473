# SPDX-License-Identifier: Apache-2.0
"""What sweep, list and a refused claim do alike: end what is over, and give a live lease its keeper back."""

from typing import Optional, Tuple

from chaosgpu.agent import halt
from chaosgpu.agent.claims import Owner
from chaosgpu.agent.environment import from_record
from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.process import alive
from chaosgpu.agent.record import ENDED, LIVE, State
from chaosgpu.agent.revert import revert, settle

__all__ = ["mend", "mend_ours", "why_over"]


def why_over(host: Host, folder: LeaseFolder, state: State) -> Optional[Tuple[str, str]]:
    """Return who ends it and why, or None while it may go on."""
    if state.state == "reverting":
        return state.ended_by or "undo", state.reason or "its undo was broken off"
    if state.state not in ("reserved", *LIVE):
        return None
    if state.boot != host.boot:
        return "deadline", "the host was started anew since it was made"
    if state.over(host.boot, host.clock.boottime_s()):
        return "deadline", "its time was over"
    latched = halt.latched(host)
    if latched is not None:
        return "halt", f"the host was halted by {latched['by']}: {latched['reason']}"
    if state.state != "active" and not folder.being_applied() and _still(folder, state):
        return "abandoned", "the process that applied it died before it was active"
    if state.state == "active" and state.holder is not None and not alive(state.holder):
        return "holder_died", f"its holder process {state.holder.pid} ended before its time"
    stopped = host.stopped(folder) if state.state in LIVE else None
    return None if stopped is None else ("stop", stopped)


def _still(folder: LeaseFolder, state: State) -> bool:
    """Look again: the apply may have come to its end between our look at the state and that at its lock."""
    now = folder.seen()
    return now is not None and now.state == state.state


def mend_ours(host: Host, owner: Owner) -> None:
    """Mend the lease that holds a claim, if it is this home's."""
    if owner.home == host.home.path:
        mend(host, host.folder(owner.lease))


def mend(host: Host, folder: LeaseFolder, *, last_try: Optional[bool] = None) -> Optional[State]:
    """End the lease if it is over, bring back its keeper and timer if it has lost one; return how it stands now."""
    state = folder.seen()
    if state is None:
        return None
    if state.state in ENDED:
        settle(host, folder, state)  # one was killed before he could
        host.deadline.disarm(folder)
        return state
    due = why_over(host, folder, state)
    if due is not None:
        try:
            return revert(host, folder, *due, last_try=last_try)
        except AgentError:
            return folder.seen()  # another process is at it
    if state.state == "active" and not host.deadline.armed(folder):
        try:
            undo = folder.trusted_undo(state)
            host.deadline.rearm(folder, from_record({} if undo is None else undo.environment))
        except AgentError as error:
            return revert(host, folder, "deadline", f"its keeper had died and no new one could be started: {error}")
    return state
