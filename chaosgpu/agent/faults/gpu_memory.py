# SPDX-License-Identifier: Apache-2.0
"""Reading a GPU's memory: what is free, what one process holds, and whether a process of ours could start there."""

from dataclasses import dataclass
from typing import List, Optional

from chaosgpu.agent.errors import DriverFailed, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.on_gpu import MIB, answer_object, ask, whole_answer
from chaosgpu.agent.values import JsonObject

__all__ = ["GRANULE", "MIB", "Memory", "context_possible", "level_reached", "memory", "processes"]

GRANULE = 2 * MIB  # the driver gives out device memory in pages of this size
SLACK_DIVISOR = 400
LEAST_SLACK = 32 * MIB
_PROHIBITED, _EXCLUSIVE = 2, (1, 3)


@dataclass(frozen=True)
class Memory:
    """One reading of a GPU's memory, in bytes.

    `reserved` is what the driver keeps for itself; `mine` what it says our holder has, None where that is not listed.
    """

    total: int
    free: int
    reserved: int
    mine: Optional[int]

    @property
    def used_percent(self) -> float:
        """What processes hold, whoever they are, of the whole; nvidia-smi and the probes count likewise."""
        return round(100.0 * (self.total - self.reserved - self.free) / self.total, 2)

    def shown(self) -> JsonObject:
        """Return it as the report shows it: ours first, the total apart."""
        return {
            "holder_mib": (self.mine or 0) // MIB,
            "used_percent": self.used_percent,
            "free_mib": self.free // MIB,
            "total_mib": self.total // MIB,
        }


def processes(uuid: str, context: Context) -> List[int]:
    """Return the pids of all processes on the GPU, as the driver lists them."""
    found = answer_object(context, "reading its processes", "memory_held", uuid).get("processes")
    listed = found if isinstance(found, list) else []
    return [whole_answer(process, "pid") for process in listed if isinstance(process, dict)]


def memory(uuid: str, pid: Optional[int], context: Context) -> Memory:
    """Read total, free and what the process holds."""
    answer = answer_object(context, "reading its memory", "memory_held", uuid)
    mine: Optional[int] = None
    listed = answer.get("processes")
    for process in listed if isinstance(listed, list) else []:
        if isinstance(process, dict) and process.get("pid") == pid:
            used = process.get("used_bytes")
            if not isinstance(used, int):
                raise DriverFailed(
                    f"The driver lists process {pid} on GPU {uuid} but not its memory (MIG or vGPU hide it), "
                    "so it cannot be told what we hold."
                )
            mine = used
    total, free, reserved = (whole_answer(answer, f"{what}_bytes") for what in ("total", "free", "reserved"))
    return Memory(total, free, reserved, mine)


def level_reached(now: Memory, goal_free: int) -> bool:
    """Tell whether no more is free than meant; CUDA and NVML may differ by a quarter of a percent in what is free."""
    return now.free <= goal_free + max(LEAST_SLACK, now.total // SLACK_DIVISOR)


def context_possible(uuid: str, context: Context) -> None:
    """Refuse where no CUDA context of ours could start: the holder would only die."""
    if context.driver.call("mig_is_on", uuid):
        raise Refused(f"GPU {uuid} is split by MIG: faults that hold a whole GPU's memory or time need MIG off.")
    mode = ask(context, "reading its compute mode", "setting_compute_mode", uuid)
    if mode == _PROHIBITED:
        raise Refused(f"GPU {uuid} is in compute mode prohibited: our holder could not start. Set it to default first.")
    if mode in _EXCLUSIVE and processes(uuid, context):
        raise Refused(
            f"GPU {uuid} is in an exclusive compute mode and a process has it: our holder could not start beside it."
        )
