# SPDX-License-Identifier: Apache-2.0
"""How leases are shown, and verified again on request: a lease whose fault is gone must not look active."""

import json
from dataclasses import dataclass
from typing import Dict, Optional

from chaosgpu.agent.environment import from_record
from chaosgpu.agent.errors import FAULT_BROKE, AgentError, as_agent_error
from chaosgpu.agent.host import ClosableDriver, Host
from chaosgpu.agent.record import LIVE, State, Undo
from chaosgpu.agent.values import JsonObject

__all__ = ["Verified", "Verifier", "ended_line", "expires_in_s", "lease_line"]


@dataclass(frozen=True)
class Verified:
    """What verifying again found; `holds` is None where it was not asked for or the lease is not active."""

    holds: Optional[bool] = None
    why_not: Optional[str] = None
    observed: Optional[JsonObject] = None


def lease_line(host: Host, lease: str, state: State, again: Verified) -> JsonObject:
    """Return one lease as `list` answers it; `observed` is the newest reading there is."""
    return {
        "lease": lease,
        "run": state.run,
        "fault": state.fault,
        "state": state.state,
        "claims": list(state.claims),
        "expires_in_s": expires_in_s(host, state),
        "observed": state.observed if again.observed is None else again.observed,
        "reason": again.why_not or state.reason,
        "ended_by": state.ended_by,
        "verified": again.holds,
    }


def expires_in_s(host: Host, state: State) -> float:
    """Return the seconds until the host undoes it by itself; 0 once it is not live any more."""
    return round(state.left_s(host.boot, host.clock.boottime_s()), 3) if state.state in LIVE else 0.0


def ended_line(lease: str, state: State) -> JsonObject:
    """Return one lease as `undo`, `sweep` and `halt` answer it."""
    return {
        "lease": lease,
        "run": state.run,
        "fault": state.fault,
        "state": state.state,
        "restored": state.restored,
        "left_alone": list(state.left_alone),
        "reason": state.reason,
        "ended_by": state.ended_by,
    }


class Verifier:
    """Verifies active leases again; leases made with the same library share one driver."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._drivers: Dict[str, ClosableDriver] = {}

    def verify(self, lease: str, state: State) -> Verified:
        """Tell whether the fault can still be seen, and why not. Unknown is not true."""
        if state.state != "active":
            return Verified()
        folder = self._host.folder(lease)
        try:
            undo = folder.undo_record()
            if undo is None:
                return Verified(holds=False, why_not="its undo record is gone")
            fault = self._host.fault(undo.fault)
            context = self._host.context(self._driver(undo), folder.path)
            observed = fault.verify(fault.parse(undo.params), undo.prior, folder.held(state.holder), context)
        except (AgentError, *FAULT_BROKE) as error:
            return Verified(holds=False, why_not=str(as_agent_error(error, "verifying")))
        return Verified(holds=True, observed=observed)

    def close(self) -> None:
        """End the drivers."""
        for driver in self._drivers.values():
            driver.close()

    def _driver(self, undo: Undo) -> ClosableDriver:
        key = json.dumps([undo.environment, undo.library], sort_keys=True)
        if key not in self._drivers:
            self._drivers[key] = self._host.new_driver(from_record(undo.environment), undo.library)
        return self._drivers[key]
