# SPDX-License-Identifier: Apache-2.0
"""What the hosts say of their leases, as probes that an experiment may name."""

from typing import Any

__all__ = ["leases_are_clean", "open_leases"]


def leases_are_clean(hosts: str = "localhost", timeout_s: float = 30) -> bool:
    """Tell whether the hosts hold no open lease of any run, as they themselves say.

    {"name": "nothing is left behind", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.lease.probes", "func": "leases_are_clean"}}

    hosts: which hosts, an Ansible pattern or "localhost". timeout_s: seconds for each one's answer.
    A stuck lease is open. Raises Unreachable or AgentFailed if a host cannot say: unknown is not clean.
    """
    return not open_leases(hosts, timeout_s)


def open_leases(hosts: str = "localhost", timeout_s: float = 30) -> list[dict[str, Any]]:
    """List the open leases of hosts, of this run and of others.

    {"name": "what is in force", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.lease.probes", "func": "open_leases"}}

    hosts: which hosts, an Ansible pattern or "localhost". timeout_s: seconds for each one's answer.
    Returns a list of {"host", "lease", "run", "fault", "state", "claims", "expires_in_s", "reason"}; times in seconds.
    Raises Unreachable or AgentFailed if a host cannot say.
    """
    from chaosgpu.lease.rollback import open_leases_of  # noqa: PLC0415 (validation imports every named module)

    return open_leases_of(hosts, timeout_s)
