# SPDX-License-Identifier: Apache-2.0
"""The contract of a watchdog backend. Whatever wakes it, it decides by the deadline in the record."""

from typing import Callable, Mapping, Protocol, Sequence, Tuple

from chaosgpu.agent.folder import LeaseFolder

__all__ = ["Backend", "Deadline"]


class Backend(Protocol):
    """One way to have a lease ended outside the process that made it."""

    name: str

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> Callable[[], None]:
        """Start arming it with the lease's recorded environment; what is returned sees that it is, or raises Refused.

        The two are apart so that a holder can start meanwhile.
        """

    def armed(self, folder: LeaseFolder) -> bool:
        """Tell whether it still watches this lease."""

    def disarm(self, folder: LeaseFolder) -> None:
        """Clean up after a lease that has ended; never raises, since the lease is over either way."""


class Deadline(Backend, Protocol):
    """All backends of this host together."""

    def rearm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> None:
        """Bring back what a live lease has lost; Refused where nothing watches it even then."""

    def own_unit(
        self, folder: LeaseFolder, words: Sequence[str], environment: Mapping[str, str], lasts_s: float
    ) -> Tuple[Sequence[str], Mapping[str, str]]:
        """Return what starts a holder in a unit of its own that ends it after so many seconds, where units are."""
