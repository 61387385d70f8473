# SPDX-License-Identifier: Apache-2.0
"""One instant for a fault on several hosts: their clocks are compared while it is armed, and each gets its own time."""

from collections.abc import Sequence
from dataclasses import dataclass

from chaosgpu.errors import ChaosGpuError, Refused
from chaosgpu.fleet.transports import Clock, Clocks
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.ids import Names

__all__ = ["LEAST_S", "Start", "agreed", "spread"]

# A clock that is further off, or may be, is refused.
WITHIN_S = 0.05
# Until the instant every host must have armed: so many times what comparing the clocks took, and this on top. On 32
# test hosts that share two cores arming took, less these 3 s, up to nine times as long as comparing, less on fewer.
_TIMES = 12.0
_ARMING_S = 3.0
LEAST_S = 2 * _ARMING_S
# The agent waits no longer.
_LONGEST_S = 60.0


@dataclass(frozen=True)
class Start:
    """When one host injects, by its own clock, and what is known of that clock."""

    inject_at_s: float
    ahead_s: float
    error_s: float
    # How long that is from now.
    lead_s: float

    def as_json(self) -> JsonObject:
        """Return it for the ledger."""
        return {
            "inject_at": round(self.inject_at_s, 6),
            "clock_ahead_s": round(self.ahead_s, 6),
            "clock_error_s": round(self.error_s, 6),
        }


def agreed(names: Names, fault: str, found: Clocks, took_s: float, furthest_s: float) -> dict[str, Start]:
    """Agree on an instant by what was found of each host's clock, and return each host's time of it.

    `took_s` is what finding it took, and the instant is no more than `furthest_s` ahead. Raises Refused where a clock
    is unknown or off.
    """
    wrong = [sentence for host, clock in found.items() if (sentence := _why_not(host, clock))]
    if wrong:
        raise Refused(
            f"{fault} was not put in on {', '.join(found)} at one instant: {'; '.join(wrong)}. Let the hosts keep time "
            "(chrony), or set chaosgpu_together to false in the configuration. Nothing was touched."
        )
    lead_s = min(_ARMING_S + _TIMES * took_s, _LONGEST_S - 1, furthest_s)
    at_s = names.now().timestamp() + lead_s
    return {
        host: Start(at_s + clock.ahead_s, clock.ahead_s, clock.error_s, lead_s)
        for host, clock in found.items()
        if isinstance(clock, Clock)
    }


def _why_not(host: str, clock: Clock | ChaosGpuError) -> str | None:
    if isinstance(clock, ChaosGpuError):
        return f"the clock of {host} is unknown: {clock}"
    if clock.error_s > WITHIN_S:
        return (
            f"the clock of {host} is known to {clock.error_s * 1000:.0f} ms only, and {WITHIN_S * 1000:.0f} ms is the "
            "limit (is ControlPersist off, or the connection slow?)"
        )
    if abs(clock.ahead_s) > WITHIN_S:
        return f"the clock of {host} is {clock.ahead_s * 1000:+.0f} ms off, and {WITHIN_S * 1000:.0f} ms is the limit"
    return None


def spread(starts: Sequence[Start], late_s: Sequence[float]) -> JsonObject:
    """Say how far apart the injections were, by each host's stamp at its inject call, and how wrong that may be."""
    errors = sorted((start.error_s for start in starts), reverse=True)
    return {"spread_s": round(max(late_s) - min(late_s), 6), "clock_error_s": round(sum(errors[:2]), 6)}
