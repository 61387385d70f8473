# SPDX-License-Identifier: Apache-2.0
"""How leases are shown, and verified again on request: a lease whose fault is gone must not look active."""

import json
from typing import Dict, Optional, Tuple

from chaosgpu.agent.environment import from_record
from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.host import ClosableDriver, Host
from chaosgpu.agent.record import State, Undo
from chaosgpu.agent.revert import FAULT_BROKE
from chaosgpu.agent.values import JsonObject

__all__ = ["Verifier", "ended_line", "lease_line"]


def lease_line(host: Host, lease: str, state: State, verified: Optional[bool], why_not: Optional[str]) -> JsonObject:
    """Return one lease as `list` answers it."""
    return {
        "lease": lease,
        "run": state.run,
        "fault": state.fault,
        "state": state.state,
        "claims": list(state.claims),
        "expires_in_s": state.expires_in_s(host.boot, host.clock.boottime_s()),
        "observed": state.observed,
        "reason": why_not or state.reason,
        "ended_by": state.ended_by,
        "verified": verified,
    }


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

    def verify(self, lease: str, state: State) -> Tuple[Optional[bool], Optional[str]]:
        """Tell whether the fault can still be seen, and why not; None where it is not active. Unknown is not true."""
        if state.state != "active":
            return None, None
        folder = self._host.folder(lease)
        try:
            undo = folder.undo_record()
            if undo is None:
                return False, "its undo record is gone"
            fault = self._host.fault(undo.fault)
            context = self._host.context(self._driver(undo), folder.path)
            fault.verify(fault.parse(undo.params), undo.prior, folder.held(state.holder), context)
        except AgentError as error:
            return False, str(error)
        except FAULT_BROKE as error:
            return False, f"verifying broke: {type(error).__name__}: {error}"
        return True, None

    def close(self) -> None:
        """End the drivers."""
        for driver in self._drivers.values():
            driver.close()

    def _driver(self, undo: Undo) -> ClosableDriver:
        key = json.dumps([undo.environment, undo.library], sort_keys=True)
        if key not in self._drivers:
            self._drivers[key] = self._host.new_driver(from_record(undo.environment), undo.library)
        return self._drivers[key]
