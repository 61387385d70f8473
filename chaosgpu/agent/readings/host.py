# SPDX-License-Identifier: Apache-2.0
"""What `read`, `facts` and `doctor` need of the host; the agent's own host has it."""

from typing import Mapping, Optional, Protocol, Tuple

from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.readings.catalogue import Clock

__all__ = ["DeclaredFault", "Host", "HostHome", "HostPolicy"]


class HostHome(Protocol):
    """The state root."""

    @property
    def path(self) -> str:
        """Its folder."""


class HostPolicy(Protocol):
    """What the host permits."""

    @property
    def permit(self) -> Tuple[str, ...]:
        """Patterns of fault names."""

    @property
    def max_duration_s(self) -> float:
        """The longest that a fault may last."""

    def allow(self, fault: str, max_duration_s: float) -> None:
        """Raise Forbidden where the fault is not permitted for that long."""


class DeclaredFault(Protocol):
    """What doctor says about a fault without starting it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def privilege(self) -> str:
        """Which rights it needs: "root" or "user"."""


class Host(Protocol):
    """The host as the agent's verbs see it."""

    @property
    def home(self) -> HostHome:
        """The state root."""

    @property
    def policy(self) -> Optional[HostPolicy]:
        """The policy; None or Forbidden where there is none."""

    @property
    def driver(self) -> Driver:
        """The driver, made at the first use."""

    @property
    def clock(self) -> Clock:
        """The host's time."""

    @property
    def registry(self) -> Mapping[str, DeclaredFault]:
        """Every fault by name."""
