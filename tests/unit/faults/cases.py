# SPDX-License-Identifier: Apache-2.0
"""One good order for each fault, and what must be true of the simulated GPU while it is in force."""

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaosgpu.agent.values import JsonObject
from unit.faults.rig import Rig

PROFILES = ("h100", "a100", "l40s", "t4", "geforce")


@dataclass(frozen=True)
class Case:
    """The parameters (they may need a service to break), and a look at the GPU behind the driver's back."""

    fault: str
    params: Callable[[Rig], JsonObject]
    in_force: Callable[[Rig, Any], bool]


def _gpu(rig: Rig) -> dict[str, Any]:
    return rig.gpus.show()[0]


def _watts(rig: Rig) -> int:
    return int(_gpu(rig)["identity"]["power_min_mw"]) // 1000 + 5


def _killable(rig: Rig) -> JsonObject:
    pid, folder = rig.victim()
    command = rig.start_victim(folder)
    return {"gpu": rig.uuid, "pid": pid, "restored_by": {"command": [*command]}}


def _stoppable(rig: Rig) -> JsonObject:
    rig.victim()
    return {"gpu": rig.uuid, "user": pwd.getpwuid(os.geteuid()).pw_name}


def state_of(pid: int) -> str:
    """Return the kernel's letter for what a process does; T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def _all_stopped(_: Rig, observed: Any) -> bool:
    return [state_of(pid) for pid in observed["stopped_pids"]] == ["T", "T"]


CASES = (
    Case(
        "gpu.memory.fill",
        lambda rig: {"gpu": rig.uuid, "used_percent": 75},
        lambda rig, _: _gpu(rig)["readings"]["used_mib"] >= 0.749 * _gpu(rig)["identity"]["memory_total_mib"],
    ),
    Case(
        "gpu.memory.leak",
        lambda rig: {"gpu": rig.uuid, "rate_mib_s": 100},
        lambda rig, observed: observed["grew_mib"] > 0 and observed["holder_pid"] in rig.pids_on_gpu(),
    ),
    Case(
        "gpu.clock.lock",
        lambda rig: {"gpu": rig.uuid, "mhz": 900},
        lambda rig, _: _gpu(rig)["settings"]["sm_lock_max_mhz"] == 900,
    ),
    Case(
        "gpu.power.cap",
        lambda rig: {"gpu": rig.uuid, "watts": _watts(rig)},
        lambda rig, _: _gpu(rig)["settings"]["power_limit_mw"] == _watts(rig) * 1000,
    ),
    Case(
        "gpu.compute_mode.set",
        lambda rig: {"gpu": rig.uuid, "mode": "exclusive_process", "squatter": True},
        lambda rig, observed: (
            _gpu(rig)["settings"]["compute_mode"] == 3 and rig.pids_on_gpu() == {observed["holder_pid"]}
        ),
    ),
    Case(
        "gpu.persistence.off",
        lambda rig: {"gpu": rig.uuid},
        lambda rig, _: _gpu(rig)["settings"]["persistence_mode"] == 0,
    ),
    Case(
        "gpu.burn",
        lambda rig: {"gpu": rig.uuid, "duty_percent": 60},
        lambda rig, _: _gpu(rig)["readings"]["utilization_percent"] >= 30,
    ),
    Case("gpu.process.kill", _killable, lambda rig, observed: not set(observed["killed_pids"]) & rig.pids_on_gpu()),
    Case("gpu.process.stop", _stoppable, _all_stopped),
)
