# SPDX-License-Identifier: Apache-2.0
"""Settings of GPUs that differ from the product's own, what waits for a reset, and who holds memory for nobody."""

import contextlib
from typing import Dict, List, Tuple

from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, Unlooked, family
from chaosgpu.agent.residue.processes import Process
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.values import JsonObject

_KINDS = {
    "gpu.power_limit": "the power limit is below the product's default",
    "gpu.clocks": "the driver names a person's setting as the reason for the clocks",
    "gpu.compute_mode": "the compute mode is not the default",
    "gpu.persistence": "persistence is off on one GPU and on on another",
    "gpu.ecc_pending": "ECC changes with the next reset",
    "gpu.mig_pending": "MIG changes with the next reset",
    "gpu.remap_pending": "a row of memory waits to be remapped",
    "gpu.remap_failed": "a row of memory could not be remapped",
    "gpu.retire_pending": "a page of memory waits to be retired",
    "gpu.recovery_asked": "the driver asks for a recovery action",
    "gpu.silent": "a GPU does not answer",
    "gpu.memory_of_nobody": "memory is held by a process that is not there",
    "gpu.memory_left_behind": "memory is held by a process whose parent and terminal are gone",
    "driver.versions_differ": "the driver's library and its kernel module differ",
}
_CLAIMED = {"gpu.power_limit": "power_limit", "gpu.clocks": "clocks", "gpu.compute_mode": "compute_mode"}
_MISMATCH = 18
_CLOCKS_SET = 0x2  # nvmlClocksEventReasonApplicationsClocksSetting
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_RESET = "drain the GPU, then nvidia-smi --gpu-reset -i {uuid}, or reboot"


@family("gpus", FOREIGN, _KINDS)
def gpus(scene: Scene, found: Found) -> None:
    """Ask the driver once a GPU. A site may mean a setting, so one that differs is nobody's for certain."""
    if scene.new_driver is None:
        raise Unlooked("there is no driver to ask")
    with contextlib.closing(scene.new_driver()) as driver:
        try:
            listed = driver.call("list_gpus")
            seen: Dict[str, JsonObject] = {}
            for gpu in listed if isinstance(listed, list) else []:
                if isinstance(gpu, dict) and "uuid" in gpu:
                    answer = driver.call("read_residue", gpu["uuid"])
                    seen[str(gpu["uuid"])] = answer if isinstance(answer, dict) else {}
                elif isinstance(gpu, dict):
                    where = f"GPU with index {gpu.get('index')}"
                    what = f"NVML {gpu.get('code')}: {gpu.get('why')}"
                    found.add("gpu.silent", what, where, "see the kernel log for an Xid, then reboot", owner=UNKNOWN)
        except DriverFailed as error:
            _no_answer(error, found)
            return
    persistent = {uuid: _values(answer).get("persistence") for uuid, answer in seen.items()}
    for uuid, answer in seen.items():
        _one(uuid, _values(answer), scene, found)
        if persistent[uuid] is False and True in persistent.values() and not _held(scene, uuid, "persistence"):
            by_hand = f"nvidia-smi -i {uuid} -pm 1"
            found.add("gpu.persistence", "it is off here and on on another GPU", uuid, by_hand, owner=UNKNOWN)
        why = answer.get("unknown")
        for name, reason in (why if isinstance(why, dict) else {}).items():
            if name in ("processes", "power_limit_mw") and "not support" not in str(reason):
                found.could_not(f"{name} of GPU {uuid}: {reason}")


def _no_answer(error: DriverFailed, found: Found) -> None:
    if error.code == _MISMATCH:
        found.add(
            "driver.versions_differ", str(error), "the driver", "reboot, or reload the kernel module", owner=UNKNOWN
        )
        found.could_not("no GPU can be asked while library and kernel module differ")
    else:
        found.could_not(str(error))


def _one(uuid: str, values: JsonObject, scene: Scene, found: Found) -> None:
    limit, default = values.get("power_limit_mw"), values.get("power_default_mw")
    reset = _RESET.format(uuid=uuid)
    seen: List[Tuple[str, bool, str, str]] = []  # kind, whether it is so, what, by hand
    if isinstance(limit, int) and isinstance(default, int):
        what = f"{limit / 1000:g} W, default {default / 1000:g} W"
        seen.append(("gpu.power_limit", limit < default, what, f"nvidia-smi -i {uuid} -pl {default // 1000}"))
    reasons, mode = values.get("reasons"), values.get("compute_mode")
    if isinstance(reasons, int):
        what = f"the clocks are locked or set ({values.get('sm_mhz')} MHz now)"
        seen.append(("gpu.clocks", bool(reasons & _CLOCKS_SET), what, f"nvidia-smi -i {uuid} -rgc, and -rac"))
    if isinstance(mode, int):
        what = f"compute mode {mode} instead of 0"
        seen.append(("gpu.compute_mode", mode != 0, what, f"nvidia-smi -i {uuid} -c 0"))
    for kind, now, later in (("gpu.ecc_pending", "ecc", "ecc_pending"), ("gpu.mig_pending", "mig", "mig_pending")):
        if now in values and later in values:
            what = f"{now.upper()} is {values[now]} and will be {values[later]}"
            seen.append((kind, values[now] != values[later], what, f"set it back with nvidia-smi, or {reset}"))
    for kind, name, what in (
        ("gpu.remap_pending", "remap_pending", "it is done by the next reset"),
        ("gpu.remap_failed", "remap_failure", "the board is to be replaced"),
        ("gpu.retire_pending", "retired_pending", "it is done by the next reset"),
    ):
        seen.append((kind, values.get(name) is True, what, reset))
    action = values.get("recovery_action")
    seen.append(("gpu.recovery_asked", isinstance(action, int) and action != 0, f"action {action}", reset))
    for kind, is_so, what, by_hand in seen:
        if is_so and not _held(scene, uuid, _CLAIMED.get(kind, kind)):
            found.add(kind, what, uuid, by_hand, owner=UNKNOWN)
    _memory(uuid, values, scene, found)


def _memory(uuid: str, values: JsonObject, scene: Scene, found: Found) -> None:
    processes = values.get("processes")
    by_pid = {process.pid: process for process in scene.processes}
    for entry in processes if isinstance(processes, list) else []:
        pid = entry.get("pid") if isinstance(entry, dict) else None
        if not isinstance(pid, int) or _held(scene, uuid, "memory") or pid in scene.leases.pids():
            continue
        used = f"{entry.get('used_mib')} MiB" if isinstance(entry, dict) else "memory"
        where = f"{uuid} pid {pid}"
        process = by_pid.get(pid)
        if process is None:
            if scene.points_to("/proc/self/ns/pid") == _FIRST_PID_NAMESPACE and scene.status(f"/proc/{pid}") is None:
                found.add(
                    "gpu.memory_of_nobody", f"{used} of pid {pid}, which has ended", where, _RESET.format(uuid=uuid)
                )
        elif _left_behind(process):
            by_hand = f"kill {pid}, when nobody knows it"
            found.add("gpu.memory_left_behind", f"{used} of {process.shown}", where, by_hand, owner=UNKNOWN)


def _left_behind(process: Process) -> bool:
    """Tell whether who started it is gone: its parent is PID 1, it has no terminal, and no service has it."""
    return process.parent == 1 and process.terminal == 0 and "/session-" in process.group


def _held(scene: Scene, uuid: str, part: str) -> bool:
    return scene.leases.hold("gpu", uuid, part)


def _values(answer: JsonObject) -> JsonObject:
    values = answer.get("values")
    return values if isinstance(values, dict) else {}
