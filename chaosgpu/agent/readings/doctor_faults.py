# SPDX-License-Identifier: Apache-2.0
"""Each fault on this host: whether the policy permits it, the rights are there, and each GPU can take it."""

import os
from typing import Dict, List, Sequence, Tuple

from chaosgpu.agent.errors import AgentError, DriverFailed
from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.readings.host import DeclaredFault, Host
from chaosgpu.agent.values import JsonMapping, JsonValue

__all__ = ["fault_checks"]

_SHORTEST_S = 1.0
_UNSUPPORTED = (3, 13)
UNIFIED = "/sys/fs/cgroup/cgroup.controllers"
_UNIFIED = ("unit.freeze", "unit.gpu.deny")
# The reading that a fault restores from: a product that cannot tell it cannot take the fault.
_NEEDS: Dict[str, str] = {
    "gpu.power.cap": "setting_power",
    "gpu.compute_mode.set": "setting_compute_mode",
    "gpu.persistence.off": "setting_persistence",
    "gpu.clock.lock": "setting_clocks",
}


def fault_checks(fault: DeclaredFault, gpus: Sequence[JsonMapping], host: Host, driver: Driver) -> List[JsonValue]:
    """Return the checks of one fault: one for the host, and one for each GPU that cannot take it."""
    checks: List[JsonValue] = []
    reasons: List[str] = []
    permitted, why = _permitted(fault, host)
    if not permitted:
        reasons.append(why)
    if fault.name.startswith("unit."):
        reasons += _no_units(fault.name, host)
    if fault.privilege == "root" and os.geteuid() != 0:
        reasons.append("it needs root, and this agent runs as another user")
    detail = (
        f"It cannot be used here: {'; '.join(reasons)}." if reasons else "It is permitted and its rights are there."
    )
    checks.append({"name": f"fault {fault.name}", "ok": not reasons, "detail": detail})
    for gpu in gpus:
        missing = _missing(fault, str(gpu.get("uuid")), driver) if "uuid" in gpu else ""
        if missing:
            checks.append({"name": f"fault {fault.name} on GPU {gpu['uuid']}", "ok": False, "detail": missing})
    return checks


def _no_units(name: str, host: Host) -> List[str]:
    """Return what keeps this host from taking a fault on a unit."""
    if host.home.limited:
        return [f"under CHAOSGPU_AGENT_HOME={host.home.path} no unit of the host is touched"]
    try:
        if host.find_systemd() is None:
            return ["systemd is not this host's PID 1"]
    except AgentError as error:
        return [str(error).rstrip(".")]
    if name in _UNIFIED and not os.path.exists(UNIFIED):  # noqa: PTH110 (pathlib costs 9 ms at start)
        return ["this host does not have the unified hierarchy (cgroup v2), without which systemd cannot do it"]
    return []


def _permitted(fault: DeclaredFault, host: Host) -> Tuple[bool, str]:
    try:
        policy = host.read_policy()
    except AgentError:
        return False, "no policy permits it, see the check `policy`"
    try:
        policy.allow(fault.name, _SHORTEST_S)
    except AgentError as error:
        return False, str(error).rstrip(".")
    return True, ""


def _missing(fault: DeclaredFault, uuid: str, driver: Driver) -> str:
    call = _NEEDS.get(fault.name)
    if call is None:
        return ""
    try:
        driver.call(call, uuid)
    except DriverFailed as error:
        if error.code in _UNSUPPORTED:
            return f"This product or driver cannot: {error}"
        return str(error)
    return ""
