# SPDX-License-Identifier: Apache-2.0
"""Inside the keeper: take the lock that says it lives, then watch."""

import os

from chaosgpu.agent.host import Host
from chaosgpu.agent.say import say
from chaosgpu.agent.watchdog.watch import watch

__all__ = ["keep"]

_LOOK_EVERY_S = 0.1
_OWN_LOCK_WITHIN_S = 2.0
_NEVER_KILLED_FOR_MEMORY = "-1000"


def keep(host: Host, lease: str) -> int:
    """Watch one lease until it has ended or is stuck."""
    folder = host.folder(lease)
    host.registry()  # loaded before we say that we watch: at the deadline the disk may be full or the files replaced
    nothing = os.open(os.devnull, os.O_RDWR)  # whoever lacks a descriptor must not have said that he watches
    lock = folder.keeper_lock(_OWN_LOCK_WITHIN_S)
    if not lock.take():
        return 0  # another keeper has it
    _say_armed()
    os.dup2(nothing, 1)
    os.close(nothing)
    _spare_from_out_of_memory()
    watch(host, folder, lambda left_s: min(_LOOK_EVERY_S, left_s))
    return 0


def _say_armed() -> None:
    try:
        os.write(1, b"armed\n")
    except BrokenPipeError:
        say("The apply that started this keeper has died; its lease is ended.")


def _spare_from_out_of_memory() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms)
            file.write(_NEVER_KILLED_FOR_MEMORY)
    except OSError:
        return  # only root may
