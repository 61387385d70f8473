# SPDX-License-Identifier: Apache-2.0
"""Everything a verb may use of this host, in one object that the tests fill themselves."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Tuple

from chaosgpu.agent.claims import Claims
from chaosgpu.agent.clock import Boot, Clock
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.faults.contract import Context, Driver, Fault
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.policy import Policy
from chaosgpu.agent.systemd import Systemd, no_systemd
from chaosgpu.agent.values import JsonMapping
from chaosgpu.agent.watchdog.deadline import Deadline

__all__ = ["AnyFault", "ClosableDriver", "DriverFactory", "Host"]

AnyFault = Fault[Any]  # each fault has its own parameters; the machine only hands them on


class ClosableDriver(Driver, Protocol):
    """A driver that is ended when the verb is done."""

    def close(self) -> None:
        """End it."""


class DriverFactory(Protocol):
    """Makes a driver; with the environment and library of a lease's record, exactly that one or none."""

    def __call__(
        self, environment: Optional[Mapping[str, str]] = None, library: Optional[JsonMapping] = None
    ) -> ClosableDriver:
        """Make a driver; it starts with its first call."""


@dataclass(frozen=True)
class Host:
    """One host as the agent sees it; `step` is told each step of an apply or an undo, and does nothing but in tests."""

    name: str
    home: Home
    environment: Mapping[str, str]
    clock: Clock
    boot: Boot
    claims: Claims
    deadline: Deadline
    command: Tuple[str, ...]
    faults: Callable[[], Mapping[str, AnyFault]]
    new_driver: DriverFactory
    read_policy: Callable[[], Policy]
    halt_files: Tuple[str, ...]
    operator: str = "unknown"
    step: Callable[[str], None] = lambda _: None
    stopped: Callable[[LeaseFolder], Optional[str]] = lambda _: None  # why, by its stop conditions; the keeper looks
    find_systemd: Callable[[], Optional[Systemd]] = no_systemd

    def fault(self, name: str) -> AnyFault:
        """Return the fault of that name."""
        known = self.faults()
        if name not in known:
            raise BadRequest(f"This agent has no fault {name!r}; it has: {', '.join(sorted(known))}.")
        return known[name]

    def folder(self, lease: str) -> LeaseFolder:
        """Return the folder of a lease."""
        return LeaseFolder(self.home, lease, self.clock)

    def context(self, driver: Driver, lease_dir: Optional[str], protected_units: Tuple[str, ...] = ()) -> Context:
        """Return what a fault may use."""
        limit = self.home.path if self.home.limited else None
        return Context(driver, self.clock, lease_dir, limit, protected_units, self.find_systemd)

    def registry(self) -> Dict[str, AnyFault]:
        """Return all faults by name."""
        return dict(self.faults())
