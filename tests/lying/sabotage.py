# SPDX-License-Identifier: Apache-2.0
"""The ways in which the world lies or fails, each with the faults it can spoil, and when it strikes.

`before` strikes before the run; `midway` while the fault is in force, after it was verified. None of them may pass.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaosgpu.errors import Unreachable
from chaosgpu.fleet.transports import Reply, Transport
from chaosgpu.fleet.transports.local import LocalTransport
from lying.world import FAULTS, HOLDERS, SETTINGS, World

__all__ = ["SABOTAGES", "Sabotage"]

type Deed = Callable[[World], None]

SETTERS = {
    "gpu.power.cap": "nvmlDeviceSetPowerManagementLimit",
    "gpu.clock.lock": "nvmlDeviceSetGpuLockedClocks",
    "gpu.compute_mode.set": "nvmlDeviceSetComputeMode",
    "gpu.persistence.off": "nvmlDeviceSetPersistenceMode",
}
RESETTERS = SETTERS | {"gpu.clock.lock": "nvmlDeviceResetGpuLockedClocks"}
# The reading that proves each fault.
GETTERS = {
    "gpu.power.cap": "nvmlDeviceGetPowerManagementLimit",
    "gpu.clock.lock": "nvmlDeviceGetClockInfo",
    "gpu.compute_mode.set": "nvmlDeviceGetComputeMode",
    "gpu.persistence.off": "nvmlDeviceGetPersistenceMode",
    "gpu.memory.fill": "nvmlDeviceGetComputeRunningProcesses_v3",
    "gpu.memory.leak": "nvmlDeviceGetComputeRunningProcesses_v3",
    "gpu.burn": "nvmlDeviceGetProcessUtilization",
    "gpu.process.stop": "nvmlDeviceGetComputeRunningProcesses_v3",
    "gpu.process.kill": "nvmlDeviceGetComputeRunningProcesses_v3",
}
_UNKNOWN_ERROR, _NO_PERMISSION, _CUDA_NO_DEVICE = 999, 4, 100


@dataclass(frozen=True)
class Sabotage:
    """One lie."""

    name: str
    faults: tuple[str, ...]
    before: Deed | None = None
    midway: Deed | None = None
    missing: Callable[[str], str] | None = None  # the function that this driver is too old to have
    leaves: tuple[str, ...] = ("inconclusive", "unsafe")  # the verdicts that are right


def _policy(**changes: object) -> Deed:
    def write(world: World) -> None:
        policy = {"version": 1, "permit": ["gpu.*"], "max_duration_s": 120} | changes
        (world.home / "policy.json").write_text(json.dumps(policy))

    return write


def _remove_policy(world: World) -> None:
    (world.home / "policy.json").unlink()


def _no_libraries(world: World) -> None:
    world.rig.environment["LD_LIBRARY_PATH"] = "/nonexistent"


def _only_nvml(world: World) -> None:
    folder = world.rig.folder / "nvml-only"
    folder.mkdir()
    (folder / "libnvidia-ml.so.1").symlink_to(world.sim.libraries / "lib" / "libnvidia-ml.so.1")
    world.rig.environment["LD_LIBRARY_PATH"] = str(folder)


def _no_agent(world: World) -> None:
    world.wrap = lambda _: LocalTransport(["/nonexistent/agent"])


def _home_is_a_file(world: World) -> None:
    leases = world.home / "leases"
    leases.write_text("not a folder")


def _returns(functions: dict[str, str], code: int) -> Deed:
    return lambda world: world.sim.inject("return", 0, function=functions[world.fault], code=code)


def _ignores(functions: dict[str, str]) -> Deed:
    return lambda world: world.sim.inject("ignore", 0, function=functions[world.fault])


def _cuda(function: str, code: int | None) -> Deed:
    """Let a CUDA call of every process fail with a code, or say yes and do nothing."""
    gpu = -1 if function == "cuInit" else 0
    if code is None:
        return lambda world: world.sim.inject("ignore", gpu, function=function)
    return lambda world: world.sim.inject("return", gpu, function=function, code=code)


def _hangs(world: World) -> None:
    world.sim.inject("hang", function=GETTERS[world.fault], hang_s=60)


def _inject(what: str, gpu: int = -1) -> Deed:
    return lambda world: world.sim.inject(what, gpu)


def _nobody_is_root(world: World) -> None:
    world.sim.set_system(simulated_root=0)


def _restored_value(world: World) -> dict[str, Any]:
    identity = world.sim.show()[0]["identity"]
    return {
        "gpu.power.cap": {"power_limit_mw": identity["power_default_mw"]},
        "gpu.clock.lock": {"sm_lock_min_mhz": 0, "sm_lock_max_mhz": 0},
        "gpu.compute_mode.set": {"compute_mode": 0},
        "gpu.persistence.off": {"persistence_mode": 1},
    }[world.fault]


def _somebody_restores(world: World) -> None:
    world.sim.set(0, **_restored_value(world))


def _somebody_always_restores(world: World) -> None:
    restored = _restored_value(world)

    def restore() -> None:
        world.sim.set(0, **restored)
        time.sleep(0.002)

    world.beside(restore)


def _supervisor_continues(world: World) -> None:
    """Continue whatever of the service stands still, as some supervisors do."""
    ours = [pid for pid in world.rig.ours() if b"victim.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def go_on() -> None:
        for pid in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.002)

    world.beside(go_on)


def _memory_is_full(world: World) -> None:
    world.sim.set(0, foreign_used_mib=int(world.sim.show()[0]["identity"]["memory_total_mib"]) - 1500)


def _is_so_already(world: World) -> None:
    watts = int(world.arguments.get("watts", 0))
    goals = {
        "gpu.power.cap": {"power_limit_mw": watts * 1000},
        "gpu.compute_mode.set": {"compute_mode": 3},
        "gpu.persistence.off": {"persistence_mode": 0},
    }
    world.sim.set(0, **goals[world.fault])


def _restorer_does_nothing(world: World) -> None:
    world.arguments["restored_by"] = {"command": ["/bin/true"]}


def _restorer_is_gone(world: World) -> None:
    world.arguments["restored_by"] = {"command": ["/nonexistent/start-it"]}


def _kill_holder(world: World) -> None:
    for pid in world.rig.pids_on_gpu():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _kill_service(world: World) -> None:
    for pid in world.rig.ours():
        if b"victim.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def _undo_by_hand(world: World) -> None:
    world.rig.ask("undo", {"all": True})


def _halt(world: World) -> None:
    world.rig.ask("halt", {"by": "ann", "reason": "the pager"})


def _forget_the_leases(world: World) -> None:
    shutil.rmtree(world.home / "leases")


def _damage(name: str) -> Deed:
    def damage(world: World) -> None:
        for path in (world.home / "leases").glob(f"*/{name}"):
            raw = bytearray(path.read_bytes())
            for place in range(0, len(raw), 64):
                raw[place] ^= 0x20
            path.write_bytes(raw)

    return damage


class _Lying:
    """A transport that makes answers up, or loses the way to the host, for some verbs."""

    def __init__(self, behind: Transport, answer: Callable[[str, bytes], Reply | None]) -> None:
        self._behind, self._answer = behind, answer

    def command_of(self, host: str) -> tuple[str, ...] | None:
        return self._behind.command_of(host)

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        made_up = self._answer(verb, document)
        return self._behind.carry(host, verb, document, timeout_s) if made_up is None else made_up


def _lies(answer: Callable[[str, bytes], Reply | None]) -> Deed:
    def wrap(world: World) -> None:
        world.wrap = lambda behind: _Lying(behind, answer)

    return wrap


def _reply(body: dict[str, Any]) -> Reply:
    return Reply(0, json.dumps({"protocol": 1, **body}).encode(), b"")


def _undo_is_made_up(verb: str, document: bytes) -> Reply | None:
    """Say that all is clean, and carry no undo to the host."""
    if verb != "undo":
        return None
    lease = json.loads(document).get("lease")
    return _reply({"leases": [] if lease is None else [{"lease": lease, "state": "clean", "restored": {"x": 1}}]})


def _apply_is_made_up(verb: str, document: bytes) -> Reply | None:
    """Say that the fault is in force, and carry no apply to the host."""
    if verb != "apply":
        return None
    asked = json.loads(document)
    return _reply(
        {
            "host": "localhost", "lease": asked["lease"], "run": asked["run"], "fault": asked["fault"],
            "state": "active", "observed": {"seen": True}, "expires_in_s": 20.0,
        }
    )  # fmt: skip


def _observes_nothing(verb: str, document: bytes) -> Reply | None:
    made_up = _apply_is_made_up(verb, document)
    return None if made_up is None else _reply(json.loads(made_up.stdout) | {"observed": {}})


def _gone_after_apply(verb: str, _: bytes) -> Reply | None:
    if verb in ("undo", "list"):
        raise Unreachable("The host is gone.")
    return None


def _garbage(verb: str, _: bytes) -> Reply | None:
    return Reply(0, b"<html>captive portal</html>", b"") if verb in ("undo", "list") else None


SABOTAGES = (
    # A tool is missing.
    Sabotage("no NVIDIA library", FAULTS, before=_no_libraries),
    Sabotage("NVML is there and CUDA is not", HOLDERS, before=_only_nvml),
    Sabotage("no agent", FAULTS, before=_no_agent),
    Sabotage("a driver too old for the setter", SETTINGS, missing=SETTERS.__getitem__),
    Sabotage("a driver too old for the reading", SETTINGS, missing=GETTERS.__getitem__),
    Sabotage("nothing that brings the service back", ("gpu.process.kill",), before=_restorer_is_gone),
    # Permission is denied.
    Sabotage("no policy", FAULTS, before=_remove_policy),
    Sabotage("a policy for other faults", FAULTS, before=_policy(permit=["net.*"])),
    Sabotage("a policy for shorter faults", FAULTS, before=_policy(max_duration_s=5)),
    Sabotage("nobody is root to the driver", SETTINGS, before=_nobody_is_root),
    Sabotage("the setter says no permission", SETTINGS, before=_returns(SETTERS, _NO_PERMISSION)),
    Sabotage("the state folder cannot be made", FAULTS, before=_home_is_a_file),
    # The kernel module is absent, another, or hangs.
    Sabotage("driver not loaded", FAULTS, before=_inject("driver_unloaded")),
    Sabotage("driver and library of two versions", FAULTS, before=_inject("version_mismatch")),
    Sabotage("CUDA finds no device", HOLDERS, before=_cuda("cuInit", _CUDA_NO_DEVICE)),
    Sabotage("the GPU is lost", FAULTS, before=_inject("lost", 0)),
    Sabotage("the reading fails", FAULTS, before=_returns(GETTERS, _UNKNOWN_ERROR)),
    Sabotage("the setter fails", SETTINGS, before=_returns(SETTERS, _UNKNOWN_ERROR)),
    Sabotage("the reading hangs", SETTINGS, before=_hangs),
    # The effect is absorbed, or was there before.
    Sabotage("the setter says yes and does nothing", SETTINGS, before=_ignores(SETTERS)),
    Sabotage("somebody always puts the setting back", SETTINGS, before=_somebody_always_restores),
    Sabotage("an allocation says yes and takes nothing", HOLDERS[:2], before=_cuda("cuMemAlloc_v2", None)),
    Sabotage("a kernel is launched and does nothing", ("gpu.burn",), before=_cuda("cuLaunchKernel", None)),
    Sabotage("the memory is full already", HOLDERS[:2], before=_memory_is_full),
    Sabotage(
        "it is so already", ("gpu.power.cap", "gpu.compute_mode.set", "gpu.persistence.off"), before=_is_so_already
    ),
    Sabotage("a supervisor continues what is stopped", ("gpu.process.stop",), before=_supervisor_continues),
    # The fault ends while the run counts on it.
    Sabotage("somebody puts the setting back midway", SETTINGS, midway=_somebody_restores),
    Sabotage("the holder is killed midway", HOLDERS, midway=_kill_holder),
    Sabotage("the service dies midway", ("gpu.process.stop",), midway=_kill_service),
    Sabotage("somebody undoes it by hand", FAULTS, midway=_undo_by_hand),
    Sabotage("somebody halts the host", FAULTS, midway=_halt),
    # The undo says yes and does nothing, or cannot be had.
    Sabotage("the undo's setter says yes and does nothing", SETTINGS, midway=_ignores(RESETTERS), leaves=("unsafe",)),
    Sabotage("the undo's setter fails", SETTINGS, midway=_returns(RESETTERS, _UNKNOWN_ERROR), leaves=("unsafe",)),
    Sabotage("what brings the service back does nothing", ("gpu.process.kill",), before=_restorer_does_nothing),
    Sabotage("the driver is unloaded midway", SETTINGS, midway=_inject("driver_unloaded"), leaves=("unsafe",)),
    Sabotage("the GPU is lost midway", SETTINGS, midway=_inject("lost", 0), leaves=("unsafe",)),
    Sabotage("the host forgets its leases", FAULTS, midway=_forget_the_leases, leaves=("unsafe",)),
    Sabotage("the undo record is damaged", FAULTS, midway=_damage("undo"), leaves=("unsafe",)),
    Sabotage("the state is damaged", FAULTS, midway=_damage("state"), leaves=("unsafe",)),
    # The way to the host lies.
    Sabotage("an apply that is made up", FAULTS, before=_lies(_apply_is_made_up)),
    Sabotage("an apply that has seen nothing", FAULTS, before=_lies(_observes_nothing)),
    Sabotage("an undo that is made up", FAULTS, before=_lies(_undo_is_made_up)),
    Sabotage("the host is gone midway", FAULTS, midway=_lies(_gone_after_apply), leaves=("unsafe",)),
    Sabotage("something else answers midway", FAULTS, midway=_lies(_garbage), leaves=("unsafe",)),
)
