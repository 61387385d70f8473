# SPDX-License-Identifier: Apache-2.0
"""gpu.memory.leak: take memory at a constant rate until only so much is free, and never give back."""

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

SLOWEST_MIB_S = 0.5
STARTS_WITHIN_S = 5.0
INTERVAL_S = 0.3


@dataclass(frozen=True)
class LeakParams(OnGpu):
    """The rate, and where it ends: so much left free, and at most so much held."""

    rate_mib_s: float
    leave_free_percent: float
    ceiling_mib: Optional[int]


class MemoryLeak(HeldOnGpu[LeakParams]):
    """A process of ours leaks."""

    name = "gpu.memory.leak"
    summary = "Leaks GPU memory at a constant rate until only so much is free; then holds that. It never gives back."
    role = "leak"
    resource = "memory"
    claimed = "the GPU's memory"
    refuses = "MIG on; compute mode prohibited, or exclusive with a process on it; per-process memory not reported"
    traps = (
        "Memory grows in steps of 2 MiB, and the first reading is higher by the holder's own CUDA context. "
        "A model server that reserves its memory at start (vLLM) feels nothing until it starts again."
    )

    def parse(self, raw: JsonMapping) -> LeakParams:
        """Read the values alone."""
        values.only(raw, self.name, GPU_KEYS | {"rate_mib_s", "leave_free_percent", "ceiling_mib"})
        rate = values.number(raw, "rate_mib_s", float("-inf"), float("inf"))
        if rate < SLOWEST_MIB_S:
            why = "memory that shrinks is no leak" if rate <= 0 else "a slower leak cannot be verified in good time"
            raise BadRequest(f"rate_mib_s must be at least {SLOWEST_MIB_S:g}, not {rate:g}: {why}.")
        free = {"leave_free_percent": raw.get("leave_free_percent", 2)}
        ceiling = None if raw.get("ceiling_mib") is None else values.whole(raw, "ceiling_mib", 2, 1 << 30)
        return LeakParams(parse_gpu(raw), rate, values.number(free, "leave_free_percent", 0.0, 100.0), ceiling)

    def wants(self, params: LeakParams, uuid: str, context: Context) -> JsonObject:
        """Return rate and ends in bytes; refuse where there is nothing to leak."""
        now = gpu_memory.memory(uuid, None, context)
        goal = int(now.total * params.leave_free_percent / 100)
        if now.free - goal < GRANULE:
            raise NoEffect(
                f"GPU {uuid} has {now.free // MIB} MiB free and shall keep {goal // MIB}: there is nothing to leak."
            )
        return {
            "goal_free_bytes": goal,
            "rate_bytes_s": params.rate_mib_s * MIB,
            "ceiling_bytes": now.total if params.ceiling_mib is None else params.ceiling_mib * MIB,
        }

    def verify(self, params: LeakParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:
        """See our process hold more at the second reading than at the first, or be at its end."""
        holder, uuid, order = alive(held), uuid_in(prior), values.mapping(prior, "holder")
        goal = values.whole(order, "goal_free_bytes", 0, 1 << 62)
        ceiling = values.whole(order, "ceiling_bytes", 0, 1 << 62)

        def read() -> Memory:
            return gpu_memory.memory(uuid, holder.pid, context)

        def has(now: Memory, least: int) -> bool:
            mine = now.mine or 0
            at_its_end = gpu_memory.level_reached(now, goal) or mine > ceiling - GRANULE
            return mine >= least or (mine >= GRANULE and at_its_end)

        step_s = GRANULE / (params.rate_mib_s * MIB)
        wait_until(lambda: has(read(), GRANULE), STARTS_WITHIN_S + step_s, 0.05, context)
        start_s, first = context.clock.boottime_s(), read()
        grown = (first.mine or 0) + GRANULE
        context.clock.sleep(INTERVAL_S)
        wait_until(lambda: has(read(), grown), STARTS_WITHIN_S + step_s, 0.05, context)
        took_s, now = context.clock.boottime_s() - start_s, read()
        grew = (now.mine or 0) - (first.mine or 0)
        if not (has(first, GRANULE) and has(now, grown)):
            raise Unverified(
                f"The holder {holder.pid} has {(first.mine or 0) // MIB} MiB of GPU {uuid} and {grew // MIB} more "
                f"{took_s:.1f} s later: it does not leak {params.rate_mib_s:g} MiB/s."
            )
        return {"holder_pid": holder.pid, "grew_mib": grew // MIB, "grew_in_s": round(took_s, 3), **now.shown()}
