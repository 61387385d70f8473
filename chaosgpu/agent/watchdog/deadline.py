# SPDX-License-Identifier: Apache-2.0
"""The contract of a watchdog backend. Whatever wakes it, it decides by the deadline in the record."""

from typing import Mapping, Protocol

from chaosgpu.agent.folder import LeaseFolder

__all__ = ["Deadline"]


class Deadline(Protocol):
    """A way to have a lease ended outside the process that made it."""

    name: str

    def arm(self, folder: LeaseFolder, environment: Mapping[str, str]) -> None:
        """Arm it with the lease's recorded environment and see that it is armed; raise Refused if it is not."""

    def armed(self, folder: LeaseFolder) -> bool:
        """Tell whether it still watches this lease."""
