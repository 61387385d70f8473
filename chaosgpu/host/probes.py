# SPDX-License-Identifier: Apache-2.0
"""What an experiment may read of a host's units. docs/probes.md has the source of each value.

Every probe raises BadArgument (no whole name of a service), ReadingUnknown (the host has no systemd, or systemd has no
such unit: neither up nor down), AgentFailed or Unreachable (no answer in `timeout_s`). `hosts` is where.
"""

from chaosgpu.fleet.values import JsonObject
from chaosgpu.host.reading import of_unit

__all__ = ["unit_is_active", "unit_restarts", "unit_state"]


def unit_is_active(unit: str, hosts: str = "localhost", timeout_s: float = 10.0) -> bool:
    """Tell whether systemd holds the service for active. It says nothing of its answers: a frozen one is active, too.

    {"type": "python", "module": "chaosgpu.host.probes", "func": "unit_is_active",
     "arguments": {"unit": "triton.service"}}
    """
    return of_unit(unit, hosts, timeout_s).flag("active")


def unit_state(unit: str, hosts: str = "localhost", timeout_s: float = 10.0) -> JsonObject:
    """Return what systemd says: {"active_state", "sub_state", "result", "restarts", "main_pid", "freezer_state"}.

    {"type": "python", "module": "chaosgpu.host.probes", "func": "unit_state",
     "arguments": {"unit": "triton.service"}}
    """
    names = ("active_state", "sub_state", "result", "restarts", "main_pid", "freezer_state")
    return of_unit(unit, hosts, timeout_s).some(*names)


def unit_restarts(unit: str, hosts: str = "localhost", timeout_s: float = 10.0) -> int:
    """Count how often systemd has restarted the service by itself (NRestarts) since it was last started by hand.

    {"type": "python", "module": "chaosgpu.host.probes", "func": "unit_restarts",
     "arguments": {"unit": "triton.service"}}
    No fixed threshold: compare with the count before the method; reset-failed sets it to 0.
    """
    return of_unit(unit, hosts, timeout_s).whole("restarts")
