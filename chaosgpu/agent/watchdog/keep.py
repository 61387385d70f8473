# SPDX-License-Identifier: Apache-2.0
"""Inside the keeper: look at the record, end the lease when its time is over, try again if that fails, and go."""

import os
import sys

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.host import Host
from chaosgpu.agent.mend import why_over
from chaosgpu.agent.record import ENDED, State
from chaosgpu.agent.revert import revert

__all__ = ["keep"]

_LOOK_EVERY_S = 0.1
_OWN_LOCK_WITHIN_S = 2.0
# Waits between tries of an undo that fails: half a minute in all, then a person has to look.
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_NEVER_KILLED_FOR_MEMORY = "-1000"


def keep(host: Host, lease: str) -> int:
    """Watch one lease until it has ended or is stuck."""
    folder = host.folder(lease)
    host.registry()  # loaded before we say that we watch: at the deadline the disk may be full or the files replaced
    lock = folder.keeper_lock(_OWN_LOCK_WITHIN_S)
    if not lock.take():
        return 0  # another keeper has it
    _say_armed()
    _spare_from_out_of_memory()
    tries = 0
    while True:
        try:
            state = folder.seen()
            if state is None or state.state in (*ENDED, "stuck"):
                return 0
            due = why_over(host, folder, state)
            if due is None:
                host.clock.sleep(_until_next_look(host, state))
                continue
            tries += 1
            if revert(host, folder, *due, last_try=tries > len(_BACK_OFF_S)).state != "reverting":
                continue
        except AgentError as error:  # somebody else is at it, or the disk is broken: look again
            sys.stderr.write(f"{error.kind}: {error}\n")
        host.clock.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S)) - 1])


def _say_armed() -> None:
    try:
        os.write(1, b"armed\n")
    except BrokenPipeError:
        sys.stderr.write("The apply that started this keeper has died; its lease is ended.\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.close(nothing)


def _until_next_look(host: Host, state: State) -> float:
    left_s = min(state.deadline_s, state.end_s) - host.clock.boottime_s()
    return min(_LOOK_EVERY_S, left_s) if left_s > 0 else 0.0


def _spare_from_out_of_memory() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms)
            file.write(_NEVER_KILLED_FOR_MEMORY)
    except OSError:
        return  # only root may
