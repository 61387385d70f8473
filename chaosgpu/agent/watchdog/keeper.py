# SPDX-License-Identifier: Apache-2.0
"""A keeper process a lease: in its own session, with nothing open but its lock, it ends the lease at its deadline."""

import os
import select
from typing import Callable, Mapping, Optional, Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.process import closing_all, spawn_detached
from chaosgpu.agent.systemd import Systemd

__all__ = ["Keeper"]

_ARMED_WITHIN_S = 10.0


class Keeper:
    """Arms a lease with a process of its own; its kernel lock is the sign that it lives."""

    name = "keeper"

    def __init__(self, command: Tuple[str, ...], clock: Clock, systemd: Optional[Systemd] = None) -> None:
        self._command, self._clock, self._systemd = command, clock, systemd

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> Callable[[], None]:
        """Start the keeper; what is returned waits until it holds its lock."""
        words: Tuple[str, ...] = (*self._command, "keep", folder.path)
        if self._systemd is not None:
            # Its own unit, or it would end with the session or the sweep that starts it. A new name each time.
            unit = f"chaosgpu-keep-{folder.lease}-{round(self._clock.boottime_s() * 1000)}.scope"
            words, environment = self._systemd.scope(
                unit, f"Keeper of chaosgpu lease {folder.lease}", words, environment
            )
        with closing_all() as ours:
            log = os.open(f"{folder.path}/keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            ours.append(log)
            nothing = os.open(os.devnull, os.O_RDONLY)
            ours.append(nothing)
            answers, answer_end = os.pipe()
            ours += [answers, answer_end]
            spawn_detached(words, environment, (nothing, answer_end, log))
            ours.remove(answers)
        return lambda: _see_armed(folder, answers)

    def armed(self, folder: LeaseFolder) -> bool:
        """Tell whether the keeper lives."""
        return folder.kept()

    def disarm(self, folder: LeaseFolder) -> None:
        """Do nothing: a keeper goes when it sees that the lease has ended."""


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
