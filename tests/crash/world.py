# SPDX-License-Identifier: Apache-2.0
"""Every host that is struck here: for the drill's two faults, each GPU fault with simulated GPUs, and a disk.

The faults that need a whole host are struck inside test hosts: `ON_HOSTS`, in unit_world.py and package_world.py.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaosgpu.agent.faults.contract import Fault
from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.faults.selfdrill import FAULTS as HARMLESS
from chaosgpu.selfdrill import entry
from chaosgpu.selfdrill.host import FILE, LOCK, SLOWER_S, START_UP, Times, World, on_file
from chaosgpu.selfdrill.points import PHASES, TIMER
from crash import depends, disk_world
from unit.faults import rig as rigs
from unit.faults.cases import CASES

KILL = "gpu.process.kill"  # a systemd unit puts it back
PACKAGES = ("package.install", "package.unattended")
GPU_FAULTS = tuple(case.fault for case in CASES if case.fault != KILL)
FILES = tuple(name for name in REGISTRY if name.startswith("unit.files."))
UNIT_FAULTS = tuple(name for name in REGISTRY if name.startswith(("unit.", "library.")) and name not in FILES)
EARLIER = (FILE, LOCK, *GPU_FAULTS, *UNIT_FAULTS)
ON_HOSTS = (*UNIT_FAULTS, KILL, *PACKAGES, *FILES)
# What came later has double crashes of its own: the others' keep their numbers.
FAULTS = (*EARLIER, disk_world.FAULT, KILL, *PACKAGES, *FILES)
SLOW = ("gpu.burn", "gpu.memory.leak")  # proved over a second: one second would be over before they are active


def phases_of(fault: str) -> tuple[str, ...]:
    """Return the phases that a fault is struck in: only a host with systemd has timers."""
    return (*PHASES, TIMER) if fault in ON_HOSTS else PHASES


def module_of(fault: str) -> str:
    """Return the module that the fault is in."""
    return type(_fault(fault)).__module__


def digest_of(fault: str) -> str:
    """Return a digest of the agent's files that this fault's run depends on."""
    found = _fault(fault)
    return depends.digest(type(found).__module__, holds=type(found).holder is not Fault.holder)


def _fault(name: str) -> Fault[Any]:
    return HARMLESS[name] if name in HARMLESS else REGISTRY[name]


def build(folder: Path, fault: str) -> World:
    """Make a host for one fault."""
    if fault in (FILE, LOCK):
        return on_file(folder, fault)
    if fault == disk_world.FAULT:
        return disk_world.build(folder)
    rig = rigs.build(folder, "h100")
    rig.environment |= {entry.WORLD: "gpu", **START_UP}
    [case] = [case for case in CASES if case.fault == fault]
    # A burn of 60 percent cannot be had where the test's own processes want the cores.
    params = case.params(rig) | ({"duty_percent": 15} if fault == "gpu.burn" else {})
    spared = tuple(rig.ours())

    def look() -> Any:
        return rig.settings(), [_letter(pid) for pid in spared]

    _settle(look)
    times = Times(apply_s=SLOWER_S) if fault in SLOW else Times()
    return World(folder, fault, params, rig.environment, look, spared, times)


def _letter(pid: int) -> str:
    """Return whether a process of the service is stopped, runs, or is gone."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"
    return "stopped" if letter == "T" else "runs"


def _settle(look: Callable[[], Any]) -> None:
    """Wait until two looks are alike."""
    last = None
    while last != (last := look()):
        time.sleep(0.05)
