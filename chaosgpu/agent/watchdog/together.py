# SPDX-License-Identifier: Apache-2.0
"""The keeper and, where systemd is, a timer beside it: a lease begins with all of them and goes on with any one."""

from typing import Callable, List, Mapping, Optional, Sequence, Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import AgentError, Refused
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.watchdog.deadline import Backend
from chaosgpu.agent.watchdog.keeper import Keeper
from chaosgpu.agent.watchdog.timer import Timer, has_timer

__all__ = ["Together"]

# A holder ends itself and is ended at the deadline; systemd is the last to come.
_HOLDER_GRACE_S = 5.0


class Together:
    """What this host has to end leases with; `look` finds systemd, and is asked once and only when it matters."""

    name = "together"

    def __init__(self, command: Tuple[str, ...], clock: Clock, look: Callable[[], Optional[Systemd]]) -> None:
        self._command, self._clock, self._look = command, clock, look
        self._looked: Optional[Tuple[Optional[Systemd]]] = None
        self._hangs: Optional[Refused] = None

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> Callable[[], None]:
        """Start arming all of them; what is returned sees that each is armed, or raises Refused."""
        checks = [backend.arm(folder, environment) for backend in self._backends()]

        def see_all() -> None:
            for see in checks:
                see()

        return see_all

    def armed(self, folder: LeaseFolder) -> bool:
        """Tell whether none of them is missing."""
        return all(backend.armed(folder) for backend in self._backends_that_answer())

    def rearm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> None:
        """Bring back those that a live lease has lost; Refused where not one watches it then."""
        reasons: List[str] = []
        backends = self._backends_that_answer()
        for backend in backends:
            try:
                if not backend.armed(folder):
                    backend.arm(folder, environment)()
            except (AgentError, OSError) as error:  # noqa: PERF203 (two of them)
                reasons.append(str(error))
        if len(reasons) == len(backends):
            raise Refused(" ".join(reasons))

    def disarm(self, folder: LeaseFolder) -> None:
        """Clean up after a lease that has ended; systemd is asked only where there is something of this lease."""
        if has_timer(folder.lease):
            for backend in self._backends_that_answer():
                backend.disarm(folder)

    def own_unit(
        self, folder: LeaseFolder, words: Sequence[str], environment: Mapping[str, str], lasts_s: float
    ) -> Tuple[Sequence[str], Mapping[str, str]]:
        """Return what starts a holder in its own unit where systemd is; elsewhere its own session is all it has."""
        systemd = self._systemd()
        if systemd is None:
            return words, environment
        unit = f"chaosgpu-hold-{folder.lease}.scope"
        about = f"What chaosgpu lease {folder.lease} holds"
        return systemd.scope(unit, about, words, environment, lasts_s + _HOLDER_GRACE_S)

    def _systemd(self) -> Optional[Systemd]:
        if self._hangs is not None:
            raise self._hangs
        if self._looked is None:
            try:
                self._looked = (self._look(),)
            except Refused as error:
                self._hangs = error  # one wait a verb is enough
                raise
        return self._looked[0]

    def _backends(self) -> Tuple[Backend, ...]:
        systemd = self._systemd()
        keeper = Keeper(self._command, self._clock, systemd)
        return (keeper,) if systemd is None else (Timer(systemd, self._command, self._clock), keeper)

    def _backends_that_answer(self) -> Tuple[Backend, ...]:
        """Without systemd where it hangs: a lease that is in force goes on with its keeper."""
        try:
            return self._backends()
        except AgentError:
            return (Keeper(self._command, self._clock),)
