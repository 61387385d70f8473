# SPDX-License-Identifier: Apache-2.0
"""Watch one lease: look at the record, end the lease when its time is over, try again if that fails, and go."""

from typing import Callable

from chaosgpu.agent.errors import AgentError, as_agent_error
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.host import Host
from chaosgpu.agent.mend import why_over
from chaosgpu.agent.record import ENDED
from chaosgpu.agent.revert import revert
from chaosgpu.agent.say import say

__all__ = ["BACK_OFF_S", "watch"]

# Waits between tries of an undo that fails: half a minute in all, then a person has to look.
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def watch(host: Host, folder: LeaseFolder, next_look_s: Callable[[float], float]) -> None:
    """Return once the lease has ended or is stuck; `next_look_s` turns the time left into the wait until a look."""
    tries = 0
    while True:
        try:
            state = folder.seen()
            if state is None or state.state in (*ENDED, "stuck"):
                return
            due = why_over(host, folder, state)
            if due is None:
                host.clock.sleep(next_look_s(state.left_s(host.boot, host.clock.boottime_s())))
                continue
            tries += 1
            if revert(host, folder, *due, last_try=tries > len(BACK_OFF_S)).state != "reverting":
                continue
        except (AgentError, OSError) as error:  # somebody else is at it, the disk is broken, we lack something
            known = as_agent_error(error, "A look at the lease")
            say(f"{known.kind}: {known}")
        host.clock.sleep(BACK_OFF_S[max(0, min(tries, len(BACK_OFF_S)) - 1)])
