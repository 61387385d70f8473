# SPDX-License-Identifier: Apache-2.0
"""Undo, as actions that an experiment may name."""

from typing import Any

__all__ = ["undo", "undo_all"]


def undo_all(hosts: str | None = None, timeout_s: float = 60) -> dict[str, Any]:
    """Undo every fault of this run: the one rollback that each experiment needs.

    It is idempotent and may run beside any other undo. Nothing to undo is no failure.

    {"name": "undo everything of this run", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.lease.actions", "func": "undo_all", "arguments": {"timeout_s": 60}}}

    hosts: where to undo; without it on every host that this run has chosen, by the recorded names. timeout_s: seconds
    for each host's answer; the host goes on after it.
    Returns {"host", "leases": [{"host", "lease", "fault", "state", "restored"}]}, with "hosts" for several; `state` is
    `clean`, or `never` for a lease that was never in force. Raises NotRestored if anything is stuck or not known to be
    restored, Unreachable if a host could not be asked, NoGuard without the guard control.
    """
    from chaosgpu.lease.rollback import undo_everything  # noqa: PLC0415 (validation imports every named module)

    return undo_everything(hosts, timeout_s)


def undo(lease: str, timeout_s: float = 60) -> dict[str, Any]:
    """Undo one fault of this run before its end, by the name that its action returned.

    {"name": "give the memory back", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.lease.actions", "func": "undo", "arguments": {"lease": "lease-0123456789abcdef"}}}

    lease: the lease's name. timeout_s: seconds for the host's answer.
    Returns {"host", "lease", "fault", "state", "restored"}. Raises BadArgument for a lease that is not of this run,
    NotRestored if it is not restored, NoGuard without the guard control.
    """
    from chaosgpu.lease.rollback import undo_lease  # noqa: PLC0415 (validation imports every named module)

    return undo_lease(lease, timeout_s)
