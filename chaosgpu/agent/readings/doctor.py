# SPDX-License-Identifier: Apache-2.0
"""What works on this host and what does not, each in one sentence; it changes nothing and never raises our errors."""

import contextlib
import os
import sys
from typing import Callable, List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.approvals.signatures import ssh_keygen
from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.host import Host
from chaosgpu.agent.readings.doctor_faults import fault_checks
from chaosgpu.agent.readings.doctor_remediation import remediation_checks
from chaosgpu.agent.readings.doctor_residue import residue_checks
from chaosgpu.agent.readings.doctor_triggers import triggers
from chaosgpu.agent.readings.doctor_undo import deadlines, records, sessions
from chaosgpu.agent.readings.health import healthy
from chaosgpu.agent.residue.of_host import scene_of
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["doctor"]

_OLDEST_PYTHON = (3, 9)
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_MOUNTS = "/proc/self/mounts"

Verdict = Tuple[Optional[bool], str]


def doctor(request: JsonMapping, host: Host) -> JsonObject:  # noqa: ARG001 (the request holds no parameters)
    """Return {"checks": [{"name", "ok", "detail", "group"}]}: true is well, false is not, null is for a person to say.

    A check of residue has `by_hand` besides: how to put it right.
    """
    with contextlib.closing(host.new_driver()) as driver:
        return {"protocol": 1, "host": host.name, "checks": _checks(host, driver)}


def _checks(host: Host, driver: Driver) -> List[JsonValue]:
    checks: List[JsonValue] = []

    def check(name: str, look: Callable[[], Verdict], group: str = "host") -> bool:
        try:
            ok, detail = look()
        except AgentError as error:
            ok, detail = False, str(error)
        checks.append({"name": name, "ok": ok, "detail": detail, "group": group})
        return ok is True

    own = not host.home.limited and os.geteuid() == 0
    check("python", _python)
    check("policy", lambda: _policy(host))
    check("boot id", _boot_id)
    check("state root", lambda: _state_root(host.home.path), "undo")
    check("records", lambda: records(host.home.path), "undo")
    check("triggers", lambda: triggers(host.command, own=own), "undo")
    check("sessions", lambda: sessions(own=own), "undo")
    check("deadlines", lambda: deadlines(host), "undo")
    gpus: List[JsonObject] = []
    if check("driver", lambda: _driver(driver)):
        check("library", lambda: _library(driver))
        gpus = _gpus(driver)
    for gpu in gpus:
        _check_gpu(gpu, driver, lambda name, look: check(name, look, "gpus"))
    for fault in host.registry().values():
        checks.extend(fault_checks(fault, gpus, host, driver))
    scene = scene_of(host)
    return [*checks, *residue_checks(scene), *remediation_checks(scene)]


def _python() -> Verdict:
    return sys.version_info >= _OLDEST_PYTHON, f"Python {sys.version.split()[0]} at {sys.executable}; 3.9 or later."


def _state_root(path: str) -> Verdict:
    """Look at the folder, or at the one above that exists; nothing is created here."""
    folder = path
    while not os.path.isdir(folder) and folder != "/":  # noqa: PTH112 (pathlib costs 9 ms at start)
        folder = os.path.dirname(folder)  # noqa: PTH120 (as above)
    if not os.access(folder, os.W_OK | os.X_OK):
        return False, f"{folder} cannot be written by user {os.getuid()}, so no lease can be kept in {path}."
    kind = _filesystem(folder)
    if kind in ("tmpfs", "ramfs"):
        return None, f"{path} is on {kind}: leases work, but their records do not outlive a reboot."
    return True, f"{path} can be written and is on {kind}."


def _filesystem(folder: str) -> str:
    real, best, kind = os.path.realpath(folder), "", "a file system that is not known"
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 (as above)
        for line in file:
            _, point, found = line.split(" ")[:3]
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, found
    return kind


def _policy(host: Host) -> Verdict:
    policy = host.read_policy()
    said = f"It permits {', '.join(policy.permit) or 'nothing'} for at most {policy.max_duration_s:g} s"
    if policy.approvals is None:
        return True, f"{said}."
    if ssh_keygen() is None:
        return False, f"{said}, with an approval that cannot be checked: there is no ssh-keygen. Install OpenSSH."
    return True, f"{said}, and only what {policy.approvals.needed} others than the operator have approved."


def _boot_id() -> Verdict:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 (as above)
            return True, f"This boot is {file.read().strip()}."
    except OSError as error:
        return False, f"{_BOOT_ID} cannot be read ({error.strerror}), so a reboot would go unnoticed."


def _driver(driver: Driver) -> Verdict:
    found = driver.call("driver_versions")
    versions = found if isinstance(found, dict) else {}
    return True, (
        f"The driver answers: version {versions.get('driver')}, NVML {versions.get('nvml')}, CUDA "
        f"{versions.get('cuda')}; its library and kernel module go together."
    )


def _library(driver: Driver) -> Verdict:
    found = driver.call("library_in_use")
    library = found if isinstance(found, dict) and found else None
    if library is None:
        return False, "The NVML library in use could not be found among the files that the driver's process has open."
    simulator = library.get("simulator")
    what = "NVIDIA's own" if simulator is None else f"simulated GPUs, instance {simulator}"
    return True, f"{library.get('path')} (SHA-256 {library.get('sha256')}): {what}."


def _gpus(driver: Driver) -> List[JsonObject]:
    found = driver.call("list_gpus")
    return [gpu for gpu in found if isinstance(gpu, dict)] if isinstance(found, list) else []


def _check_gpu(gpu: JsonObject, driver: Driver, check: Callable[[str, Callable[[], Verdict]], bool]) -> None:
    uuid = values.optional_text(gpu, "uuid")
    if uuid is None:
        sentence = f"It does not answer: NVML {gpu.get('code')} ({gpu.get('why')}). No fault is put on it."
        check(f"GPU with index {gpu.get('index')}", lambda: (False, sentence))
        return
    named = f"{gpu.get('name')} at {gpu.get('pci_bus_id')}"

    def look() -> Verdict:
        reasons = healthy(driver, uuid)
        return not reasons, f"{named}: {'; '.join(reasons) if reasons else 'nothing is known to be wrong with it'}."

    check(f"GPU {uuid}", look)
