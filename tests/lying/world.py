# SPDX-License-Identifier: Apache-2.0
"""One host for one run: simulated GPUs, an agent's home, a service on the GPU where the fault needs one."""

import json
import os
import pwd
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaosgpu.fleet.transports import Transport
from chaosgpu.sim import instance as simulator
from lying.forker import ForkedTransport, Forker
from unit.faults.rig import POLICY, Rig

__all__ = ["ACTIONS", "FAULTS", "HOLDERS", "SETTINGS", "World", "made"]

DURATION_S = 15.0
FAULTS = (
    "gpu.power.cap",
    "gpu.clock.lock",
    "gpu.compute_mode.set",
    "gpu.persistence.off",
    "gpu.memory.fill",
    "gpu.memory.leak",
    "gpu.burn",
    "gpu.process.stop",
    "gpu.process.kill",
)
SETTINGS = FAULTS[:4]
HOLDERS = FAULTS[4:7]
ACTIONS = {
    "gpu.power.cap": "cap_power",
    "gpu.clock.lock": "lock_clocks",
    "gpu.compute_mode.set": "set_compute_mode",
    "gpu.persistence.off": "disable_persistence",
    "gpu.memory.fill": "fill_memory",
    "gpu.memory.leak": "leak_memory",
    "gpu.burn": "burn",
    "gpu.process.stop": "stop_processes",
    "gpu.process.kill": "kill_processes",
}


@dataclass
class World:
    """A host, the fault that is meant for it, and what a sabotage may change about both."""

    rig: Rig
    fault: str
    draw: random.Random
    arguments: dict[str, Any]
    forker: Forker
    wrap: Callable[[Transport], Transport] = lambda transport: transport
    background: list[int] = field(default_factory=list)

    @property
    def sim(self) -> simulator.Instance:
        return self.rig.gpus

    @property
    def home(self) -> Path:
        return Path(self.rig.environment["CHAOSGPU_AGENT_HOME"])

    def transport(self) -> Transport:
        """Return the way to its agent, as the sabotage left it."""
        return self.wrap(ForkedTransport(self.forker, self.rig.environment))

    def beside(self, work: Callable[[], None]) -> None:
        """Have a process of its own do something again and again until the run is over."""
        pid = os.fork()
        if pid == 0:
            try:
                while True:
                    work()
            finally:
                os._exit(0)
        self.background.append(pid)


def arguments(fault: str, rig: Rig, draw: random.Random) -> dict[str, Any]:
    """Draw the action's arguments, all of them good; a service is started where one is meant."""
    drawn: dict[str, Callable[[], dict[str, Any]]] = {
        "gpu.power.cap": lambda: {"watts": draw.randrange(210, 650)},
        "gpu.clock.lock": lambda: {"mhz": draw.randrange(400, 1200, 15)},
        "gpu.compute_mode.set": lambda: {"mode": "exclusive_process"},
        "gpu.persistence.off": dict,
        "gpu.memory.fill": lambda: {"used_percent": draw.randrange(40, 96)},
        "gpu.memory.leak": lambda: {"rate_mib_s": draw.randrange(200, 4000)},
        "gpu.burn": lambda: {"duty_percent": draw.randrange(10, 25)},
        "gpu.process.stop": lambda: _stoppable(rig),
        "gpu.process.kill": lambda: _killable(rig),
    }
    return {"gpu": rig.uuid, "duration_s": DURATION_S, **drawn[fault]()}


def _stoppable(rig: Rig) -> dict[str, Any]:
    rig.victim()
    return {"user": pwd.getpwuid(os.geteuid()).pw_name}


def _killable(rig: Rig) -> dict[str, Any]:
    pid, folder = rig.victim()
    return {"pid": pid, "restored_by": {"command": [*rig.start_victim(folder)]}}


def _build(folder: Path, fault: str, draw: random.Random, forker: Forker, missing: Sequence[str] = ()) -> World:
    """Make a host for one run; `missing`: functions that this driver is too old to have."""
    home = folder / "home"
    home.mkdir()
    (home / "policy.json").write_text(json.dumps(POLICY))
    gpus = simulator.create(folder, "h100", 2, seed=draw.getrandbits(32), missing_symbols=missing, simulated_root=True)
    for index, gpu in enumerate(gpus.show()):
        gpus.set(index, acoustic_celsius=gpu["identity"]["acoustic_max_celsius"])
    rig = Rig(folder, gpus, {**os.environ, **gpus.environment(), "CHAOSGPU_AGENT_HOME": str(home)})
    return World(rig, fault, draw, arguments(fault, rig, draw), forker)


@contextmanager
def made(folder: Path, fault: str, draw: random.Random, forker: Forker, missing: Sequence[str] = ()) -> Iterator[World]:
    """Give a world and take all of it away again."""
    folder.mkdir()
    world = _build(folder, fault, draw, forker, missing)
    try:
        yield world
    finally:
        for pid in world.background:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        world.rig.end()
        shutil.rmtree(folder, ignore_errors=True)
