# SPDX-License-Identifier: Apache-2.0
"""The lines about leases that the terminal shows."""

from chaosgpu.fleet.values import JsonMapping, JsonValue
from chaosgpu.lease.book import Lease

__all__ = ["active_line", "brief", "ended_how", "undo_line"]

_LONGEST = 200
_ENDED_HOW = {
    "deadline": "its time was over; give it a longer duration_s",
    "halt": "the host was halted",
    "holder_died": "the process that held it died",
    "stop": "a stop condition on the host ended it",
    "undo": "somebody undid it",
    "abandoned": "the agent that put it in was ended",
}


def ended_how(ended_by: str) -> str:
    """Say in words how a lease ended before its undo was due."""
    return _ENDED_HOW.get(ended_by, f"the host ended it: {ended_by}")


def brief(values: JsonMapping) -> str:
    """Write readings on one line: what is long or nested is left to the record."""
    shown = ", ".join(f"{key} {_scalar(value)}" for key, value in values.items() if _is_short(value))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def active_line(lease: Lease, expires_in_s: float | None, longest_s: float | None) -> str:
    """Say that a fault is in force, what was observed, and when the host ends it by itself.

    `longest_s` is the end of a lease that is renewed; None of one that is not.
    """
    seen = brief(lease.observed) or "as recorded"
    countdown = "" if expires_in_s is None else f"; ends by itself in {expires_in_s:.0f} s"
    if countdown and longest_s is not None:
        countdown += f" without this run, at the latest in {longest_s:.0f} s"
    return f"FAULT {lease.fault} is active on {lease.host}: {seen}{countdown} ({lease.lease})"


def undo_line(lease: Lease) -> str:
    """Say how an undo ended."""
    if lease.state == "clean":
        back = brief(lease.restored) or "nothing was left to restore"
        early = f" (it had ended early: {lease.ended_early})" if lease.ended_early else ""
        return f"UNDONE {lease.fault} on {lease.host}: {back}{early} ({lease.lease})"
    if lease.state == "never":
        return f"NEVER IN FORCE {lease.fault} on {lease.host}: the host holds no such lease ({lease.lease})"
    return (
        f"NOT UNDONE {lease.fault} on {lease.host}: {lease.state}, {lease.reason or 'no reason given'} ({lease.lease})"
    )


def _is_short(value: JsonValue) -> bool:
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 60)  # noqa: PLR2004 (a line of a terminal)


def _scalar(value: JsonValue) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
