# SPDX-License-Identifier: Apache-2.0
"""Every fault, by name: one line each."""

from typing import Any, Dict, Tuple

from chaosgpu.agent.faults.burn import Burn
from chaosgpu.agent.faults.clock_lock import ClockLock
from chaosgpu.agent.faults.compute_mode import ComputeMode
from chaosgpu.agent.faults.contract import Fault
from chaosgpu.agent.faults.disk_fill import DiskFill
from chaosgpu.agent.faults.library_mismatch import LibraryMismatch
from chaosgpu.agent.faults.library_shadow import LibraryShadow
from chaosgpu.agent.faults.memory_fill import MemoryFill
from chaosgpu.agent.faults.memory_leak import MemoryLeak
from chaosgpu.agent.faults.package_install import PackageInstall
from chaosgpu.agent.faults.package_unattended import PackageUnattended
from chaosgpu.agent.faults.persistence_off import PersistenceOff
from chaosgpu.agent.faults.power_cap import PowerCap
from chaosgpu.agent.faults.process_kill import ProcessKill
from chaosgpu.agent.faults.process_stop import ProcessStop
from chaosgpu.agent.faults.selfdrill import FileText
from chaosgpu.agent.faults.unit_cuda_errors import UnitCudaErrors
from chaosgpu.agent.faults.unit_files_damage import UnitFilesDamage
from chaosgpu.agent.faults.unit_files_vanish import UnitFilesVanish
from chaosgpu.agent.faults.unit_freeze import UnitFreeze
from chaosgpu.agent.faults.unit_gpu_deny import UnitGpuDeny
from chaosgpu.agent.faults.unit_gpu_hide import UnitGpuHide
from chaosgpu.agent.faults.unit_kill import UnitKill
from chaosgpu.agent.faults.unit_kv_cache import UnitKvCacheShrink
from chaosgpu.agent.faults.unit_stop import UnitStop

__all__ = ["REGISTRY"]

# Each fault has its own type of parameters; whoever calls it hands back what its own `parse` gave.
_FAULTS: Tuple[Fault[Any], ...] = (
    MemoryFill(),
    MemoryLeak(),
    ClockLock(),
    PowerCap(),
    ComputeMode(),
    PersistenceOff(),
    Burn(),
    ProcessKill(),
    ProcessStop(),
    UnitStop(),
    UnitKill(),
    UnitFreeze(),
    UnitGpuDeny(),
    UnitGpuHide(),
    UnitKvCacheShrink(),
    UnitCudaErrors(),
    UnitFilesVanish(),
    UnitFilesDamage(),
    LibraryMismatch(),
    LibraryShadow(),
    PackageInstall(),
    PackageUnattended(),
    DiskFill(),
    FileText(),
)

REGISTRY: Dict[str, Fault[Any]] = {fault.name: fault for fault in _FAULTS}
