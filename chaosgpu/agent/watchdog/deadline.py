# SPDX-License-Identifier: Apache-2.0
"""The contract of a watchdog backend. Whatever wakes it, it decides by the deadline in the record."""

from typing import Callable, Mapping, Protocol

from chaosgpu.agent.folder import LeaseFolder

__all__ = ["Deadline"]


class Deadline(Protocol):
    """A way to have a lease ended outside the process that made it."""

    name: str

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> Callable[[], None]:
        """Start arming it with the lease's recorded environment; what is returned sees that it is, or raises Refused.

        The two are apart so that a holder can start meanwhile.
        """

    def armed(self, folder: LeaseFolder) -> bool:
        """Tell whether it still watches this lease."""
