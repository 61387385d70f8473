# SPDX-License-Identifier: Apache-2.0
"""What `read`, `facts` and `doctor` need of the host; the agent's own `Host` has it."""

from typing import Callable, Mapping, Optional, Protocol, Tuple

from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.readings.catalogue import Clock
from chaosgpu.agent.systemd import Systemd

__all__ = ["DeclaredFault", "EndedDriver", "Host", "HostHome", "HostPolicy"]


class HostHome(Protocol):
    """The state root."""

    @property
    def path(self) -> str:
        """Its folder."""

    @property
    def limited(self) -> bool:
        """Whether CHAOSGPU_AGENT_HOME named it."""


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


class EndedDriver(Driver, Protocol):
    """A driver that is ended when the verb is done."""

    def close(self) -> None:
        """End it."""


class Host(Protocol):
    """The host as these verbs see it."""

    @property
    def name(self) -> str:
        """What the host is called."""

    @property
    def home(self) -> HostHome:
        """The state root."""

    @property
    def clock(self) -> Clock:
        """The host's time."""

    @property
    def command(self) -> Tuple[str, ...]:
        """How the agent starts itself again."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The agent's environment."""

    @property
    def find_systemd(self) -> Callable[[], Optional[Systemd]]:
        """How systemd is found, where it is PID 1."""

    def new_driver(self) -> EndedDriver:
        """Make a driver; it starts with its first call."""

    def read_policy(self) -> HostPolicy:
        """Return the policy, or raise Forbidden where there is none."""

    def registry(self) -> Mapping[str, DeclaredFault]:
        """Return every fault by name."""
