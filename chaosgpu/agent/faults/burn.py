# SPDX-License-Identifier: Apache-2.0
"""gpu.burn: keep every SM busy for a share of the time."""

from dataclasses import dataclass
from typing import List, Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, Unverified
from chaosgpu.agent.faults import gpu_memory
from chaosgpu.agent.faults.contract import Context, Held
from chaosgpu.agent.faults.held import HeldOnGpu, alive
from chaosgpu.agent.faults.on_gpu import GPU_KEYS, OnGpu, answer_object, parse_gpu, uuid_in, wait_until
from chaosgpu.agent.faults.process_load import ProcessLoad, Reading
from chaosgpu.agent.values import JsonMapping, JsonObject

BUSY_WITHIN_S = 10.0
INTERVAL_S = 0.5  # longer than the shortest window over which a driver averages utilisation (1/6 s)
LEAST_SHARE = 0.5  # half of the duty asked for: the driver's own window and others' work blur it


@dataclass(frozen=True)
class BurnParams(OnGpu):
    """For how much of the time the GPU shall be busy."""

    duty_percent: float


class Burn(HeldOnGpu[BurnParams]):
    """A process of ours computes for nothing."""

    name = "gpu.burn"
    summary = "Keeps every SM of the GPU busy for a share of the time: others get less of it, and it warms up."
    role = "burn"
    resource = "load"
    claimed = "the GPU's time"
    refuses = "MIG on; compute mode prohibited, or exclusive with a process on it; utilisation not reported"
    traps = (
        "It brings utilisation and moderate power, not the product's full power: that takes tensor cores (gpu-burn, "
        "dcgmproftester). Where many GPUs burn at once, the rack feels the step in power."
    )

    def parse(self, raw: JsonMapping) -> BurnParams:
        """Read the values alone."""
        values.only(raw, self.name, GPU_KEYS | {"duty_percent"})
        duty = values.number({"duty_percent": raw.get("duty_percent", 100)}, "duty_percent", 0.0, 100.0)
        if duty < 1:
            raise BadRequest(f"duty_percent must be at least 1, not {duty:g}: less cannot be told from an idle GPU.")
        return BurnParams(parse_gpu(raw), duty)

    def wants(self, params: BurnParams, uuid: str, context: Context) -> JsonObject:
        """Return the duty; refuse where the utilisation could not be read afterwards."""
        answer_object(context, "reading its utilisation", "load_of", uuid, 0)
        return {"duty_percent": params.duty_percent}

    def verify(self, params: BurnParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:
        """Read that our process is on the GPU, and twice that the GPU is as busy as it must be with it."""
        holder, uuid = alive(held), uuid_in(prior)
        least = max(1.0, params.duty_percent * LEAST_SHARE)

        load = ProcessLoad(uuid, holder.pid, context)

        def busy(reading: Reading) -> bool:
            # Our own share counts where the driver tells it; others may take their part of the GPU from us.
            return (reading.total or 0) >= least and (reading.mine is None or reading.mine >= 1)

        readings: List[Reading] = []

        def busy_twice() -> bool:
            readings[:] = [load.read()]
            context.clock.sleep(INTERVAL_S)
            readings.append(load.read())
            return all(map(busy, readings))

        # One low reading is the host's: its cores were taken for a moment, and our process could launch nothing.
        steady = wait_until(busy_twice, BUSY_WITHIN_S, 0.1, context)
        before, now = readings
        if not (steady and gpu_memory.memory(uuid, holder.pid, context).mine is not None):
            raise Unverified(
                f"GPU {uuid} was busy {before.total} and then {now.total} percent and our process {holder.pid} "
                f"{before.mine} and then {now.mine} percent "
                f"of the time, where {params.duty_percent:g} were asked for."
            )
        return {"holder_pid": holder.pid, "utilization_percent": now.total, "holder_utilization_percent": now.mine}
