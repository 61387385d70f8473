# SPDX-License-Identifier: Apache-2.0
"""A keeper process a lease: in its own session, with nothing open but its lock, it ends the lease at its deadline."""

import os
import select
from typing import Callable, Mapping, Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.process import spawn_detached

__all__ = ["Keeper"]

_ARMED_WITHIN_S = 10.0


class Keeper:
    """Arms a lease with a process of its own; its kernel lock is the sign that it lives."""

    name = "keeper"

    def __init__(self, command: Tuple[str, ...], clock: Clock) -> None:
        self._command, self._clock = command, clock

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> Callable[[], None]:
        """Start the keeper; what is returned waits until it holds its lock."""
        log = os.open(f"{folder.path}/keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        answers, answer_end = os.pipe()
        try:
            spawn_detached([*self._command, "keep", folder.path], environment, (nothing, answer_end, log))
        finally:
            for descriptor in (log, nothing, answer_end):
                os.close(descriptor)
        return lambda: _see_armed(folder, answers)

    def armed(self, folder: LeaseFolder) -> bool:
        """Tell whether the keeper lives."""
        return folder.kept()


def _see_armed(folder: LeaseFolder, answers: int) -> None:
    try:
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        if poll.poll(_ARMED_WITHIN_S * 1000):
            os.read(answers, 16)
    finally:
        os.close(answers)
    if not folder.kept():
        raise Refused(
            f"The keeper that would undo this lease did not start within {_ARMED_WITHIN_S:g} s; nothing was touched. "
            f"Its log is {folder.path}/keeper.log."
        )
