# SPDX-License-Identifier: Apache-2.0
"""Each fault on this host: whether policy, rights and programs are there, and whether each GPU could take it now."""

import os
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from chaosgpu.agent.errors import AgentError, DriverFailed, Refused
from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.faults.package_install import PROGRAMS
from chaosgpu.agent.host import AnyFault, Host
from chaosgpu.agent.packages.tools import of_host
from chaosgpu.agent.shim.library import COMPILERS
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

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
_COMPILED = "unit.cuda.errors"
# What a fault of a GPU is asked for when it is only asked whether it could begin: `check` reads and changes nothing.
_SAMPLES: Dict[str, Callable[[str, Driver], JsonObject]] = {
    "gpu.memory.fill": lambda gpu, _: {"gpu": gpu, "used_percent": 95},
    "gpu.memory.leak": lambda gpu, _: {"gpu": gpu, "rate_mib_s": 10},
    "gpu.clock.lock": lambda gpu, driver: {"gpu": gpu, "mhz": _half_clock(gpu, driver)},
    "gpu.power.cap": lambda gpu, driver: {"gpu": gpu, "watts": _least_watts(gpu, driver)},
    "gpu.compute_mode.set": lambda gpu, _: {"gpu": gpu, "mode": "prohibited"},
    "gpu.persistence.off": lambda gpu, _: {"gpu": gpu},
    "gpu.burn": lambda gpu, _: {"gpu": gpu, "duty_percent": 50},
}


def fault_checks(fault: AnyFault, gpus: Sequence[JsonMapping], host: Host, driver: Driver) -> List[JsonValue]:
    """Return the checks of one fault: one for the host, and one for each GPU that cannot take it."""
    checks: List[JsonValue] = []
    reasons: List[str] = []
    choice, no_policy = _not_permitted(fault, host)
    if choice or no_policy:
        reasons.append(choice or no_policy)
    if fault.name.startswith(("unit.", "library.")):
        reasons += _no_units(fault.name, host)
    if fault.name.startswith("package."):
        reasons += _no_packages(fault.name, host)
    reasons += _no_disks(fault.name, host)
    drills = fault.name.startswith("selfdrill.")
    if fault.privilege == "root" and os.geteuid() != 0 and not (drills and host.home.limited):
        reasons.append("it needs root, and this agent runs as another user")
    detail = (
        f"It cannot be used here: {'; '.join(reasons)}." if reasons else "It is permitted and its rights are there."
    )
    # What its owner does not permit is no defect of a host.
    usable: Optional[bool] = None if reasons == [choice] else not reasons
    if reasons and drills:  # no drill of this host lacks it but the one of its own triggers
        usable, detail = None, f"{detail} Only `chaosgpu self-drill --triggers` wants it."
    if usable and fault.name == _COMPILED and not any(os.access(path, os.X_OK) for path in COMPILERS):
        usable, detail = None, "It is permitted; without a C compiler (cc) here it wants a library built elsewhere."
    checks.append({"name": f"fault {fault.name}", "ok": usable, "detail": detail, "group": "faults"})
    for gpu in gpus:
        if "uuid" not in gpu:
            continue
        uuid = str(gpu["uuid"])
        missing = _missing(fault.name, uuid, driver)
        ok = False if missing else None
        missing = missing or _not_now(fault, uuid, host, driver)
        if missing:
            name = f"fault {fault.name} on GPU {uuid}"
            checks.append({"name": name, "ok": ok, "detail": missing, "group": "faults"})
    return checks


def _not_permitted(fault: AnyFault, host: Host) -> Tuple[str, str]:
    """Return why the host's owner does not permit it, and whether there is no policy to say so; empty where it is."""
    try:
        policy = host.read_policy()
    except AgentError:
        return "", "no policy permits it, see the check `policy`"
    try:
        policy.allow(fault.name, _SHORTEST_S)
    except AgentError as error:
        return str(error).rstrip("."), ""
    return "", ""


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


def _no_packages(name: str, host: Host) -> List[str]:
    """Return what keeps this host from having its packages changed and put back."""
    if host.home.limited:
        return [f"under CHAOSGPU_AGENT_HOME={host.home.path} no package of the host is touched"]
    if name == "package.install" and of_host().rpm:
        return []
    missing = [path for path in PROGRAMS if not os.access(path, os.X_OK)]
    return [f"{path} is not here: packages are changed on Debian and Ubuntu only" for path in missing]


def _no_disks(name: str, host: Host) -> List[str]:
    """Return what keeps this agent from filling a disk."""
    if not name.startswith("disk.") or not host.home.limited:
        return []
    beside = os.path.dirname(host.home.path)  # noqa: PTH120 (pathlib costs 9 ms at start)
    if any(entry.is_dir() and os.path.ismount(entry.path) for entry in os.scandir(beside)):
        return []
    return [f"under CHAOSGPU_AGENT_HOME={host.home.path} no disk of the host is touched, and none is mounted beside it"]


def _missing(name: str, uuid: str, driver: Driver) -> str:
    call = _NEEDS.get(name)
    if call is None:
        return ""
    try:
        driver.call(call, uuid)
    except DriverFailed as error:
        if error.code in _UNSUPPORTED:
            return f"This product or driver cannot: {error}"
        return str(error)
    return ""


def _not_now(fault: AnyFault, uuid: str, host: Host, driver: Driver) -> str:
    """Ask the fault itself whether it could begin; why not now is no lasting reason."""
    sample = _SAMPLES.get(fault.name)
    if sample is None:
        return ""
    try:
        fault.check(fault.parse(sample(uuid, driver)), host.context(driver, None))
    except (DriverFailed, Refused) as error:
        return f"Not now: {error}"
    except AgentError as error:
        return f"It could not be asked whether it can take it now: {error}"
    return ""


def _least_watts(gpu: str, driver: Driver) -> int:
    found = driver.call("setting_power", gpu)
    least = found.get("min_mw") if isinstance(found, dict) else None
    return -(-int(least) // 1000) if isinstance(least, (int, float)) else 1


def _half_clock(gpu: str, driver: Driver) -> int:
    found = driver.call("setting_clocks", gpu)
    most = found.get("max_sm_mhz") if isinstance(found, dict) else None
    return int(most) // 2 if isinstance(most, (int, float)) else 500
