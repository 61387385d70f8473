# SPDX-License-Identifier: Apache-2.0
"""gpu.memory.fill: take memory up to a level and hold it there."""

from dataclasses import dataclass
from typing import Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Unverified
from chaosgpu.agent.faults import gpu_memory
from chaosgpu.agent.faults.contract import Context, Held
from chaosgpu.agent.faults.gpu_memory import GRANULE, MIB, Memory
from chaosgpu.agent.faults.held import HeldOnGpu, alive
from chaosgpu.agent.faults.on_gpu import GPU_KEYS, OnGpu, parse_gpu, uuid_in, wait_until
from chaosgpu.agent.values import JsonMapping, JsonObject

REACHED_WITHIN_S = 15.0
INTERVAL_S = 0.3


@dataclass(frozen=True)
class FillParams(OnGpu):
    """One of the two is given."""

    used_percent: Optional[float]
    leave_free_mib: Optional[int]

    def goal_free(self, now: Memory) -> int:
        """Return how many bytes shall be free at the level."""
        if self.leave_free_mib is not None:
            return self.leave_free_mib * MIB
        return max(0, int(now.total * (1 - (self.used_percent or 0.0) / 100)) - now.reserved)


class MemoryFill(HeldOnGpu[FillParams]):
    """A process of ours takes what is missing to the level, and again whenever others give some back."""

    name = "gpu.memory.fill"
    summary = "Fills the GPU's memory to a level and holds it there while others free theirs."
    role = "fill"
    resource = "memory"
    claimed = "the GPU's memory"
    refuses = "MIG on; compute mode prohibited, or exclusive with a process on it; per-process memory not reported"
    traps = (
        "Other processes run out of memory: that is the point. The holder's own CUDA context costs 300 to 600 MiB on "
        "a large GPU, which may be more than the level asked for. It takes plain device memory, never managed memory, "
        "which would move to the host under pressure and fill nothing."
    )

    def parse(self, raw: JsonMapping) -> FillParams:
        """Read the values alone."""
        values.only(raw, self.name, GPU_KEYS | {"used_percent", "leave_free_mib"})
        gpu = parse_gpu(raw)
        if (raw.get("used_percent") is None) == (raw.get("leave_free_mib") is None):
            raise BadRequest("Give either used_percent or leave_free_mib, one of the two.")
        if raw.get("used_percent") is None:
            return FillParams(gpu, None, values.whole(raw, "leave_free_mib", 0, 1 << 30))
        percent = values.number(raw, "used_percent", 0.0, 100.0)
        if percent == 0:
            raise BadRequest("used_percent must be over 0: a GPU filled to 0 percent is no fault.")
        return FillParams(gpu, percent, None)

    def wants(self, params: FillParams, uuid: str, context: Context) -> JsonObject:
        """Return the level in bytes; refuse where the GPU is as full already."""
        now = gpu_memory.memory(uuid, None, context)
        goal = params.goal_free(now)
        if goal >= now.total:
            raise BadRequest(f"leave_free_mib {goal // MIB} is not less than the {now.total // MIB} MiB of the GPU.")
        if now.free - goal < GRANULE:
            raise NoEffect(
                f"GPU {uuid} has {now.free // MIB} MiB free and shall have {goal // MIB}: it is full to that level "
                "already, so filling it would do nothing."
            )
        return {"goal_free_bytes": goal}

    def verify(self, params: FillParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:
        """Read twice in a row that our process holds memory and that no more than the level is free.

        What others free meanwhile is free until the holder looks again, so two readings may need some time.
        """
        holder, uuid = alive(held), uuid_in(prior)

        def reached() -> bool:
            now = gpu_memory.memory(uuid, holder.pid, context)
            return (now.mine or 0) >= GRANULE and gpu_memory.level_reached(now, params.goal_free(now))

        def reached_twice() -> bool:
            if not reached():
                return False
            context.clock.sleep(INTERVAL_S)
            return reached()

        seen = wait_until(reached_twice, REACHED_WITHIN_S, 0.05, context)
        now = gpu_memory.memory(uuid, holder.pid, context)
        if not seen:
            raise Unverified(
                f"The holder {holder.pid} has {(now.mine or 0) // MIB} MiB of GPU {uuid} and {now.free // MIB} MiB are "
                f"free, where {params.goal_free(now) // MIB} were asked for."
            )
        return {"holder_pid": holder.pid, **now.shown()}
