# SPDX-License-Identifier: Apache-2.0
"""What the faults share whose undo is the end of a process of ours on the GPU."""

from abc import abstractmethod
from typing import ClassVar, Optional, Tuple, TypeVar

from chaosgpu.agent.errors import Unverified
from chaosgpu.agent.faults import gpu_memory
from chaosgpu.agent.faults.contract import Context, Fault, Held, HolderPlan, Restored
from chaosgpu.agent.faults.gpu_memory import MIB
from chaosgpu.agent.faults.on_gpu import OnGpu, gpu_of, refuse_unhealthy, simulator, uuid_in, wait_until
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["HeldOnGpu", "alive", "holder_is_gone"]

GIVES_BACK_WITHIN_S = 10.0  # a driver may take seconds to clear 80 GB; more than that is a finding

Params = TypeVar("Params", bound=OnGpu)


class HeldOnGpu(Fault[Params]):
    """A fault that one CUDA process of ours is; `role` is its function in `agent/holders.py`."""

    plane = "effect"
    tier = "T2"
    fidelity = "exact"
    privilege = "user"
    role: ClassVar[str]
    resource: ClassVar[str]  # what of the GPU it claims

    @abstractmethod
    def wants(self, params: Params, uuid: str, context: Context) -> JsonObject:
        """Return what the holder is told besides the GPU; raise NoEffect where it would do nothing."""

    def check(self, params: Params, context: Context) -> None:
        """Refuse an ailing GPU, one that takes no context of ours, and one where it would do nothing."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        refuse_unhealthy(uuid, context)
        gpu_memory.context_possible(uuid, context)
        self.wants(params, uuid, context)

    def claims(self, params: Params, context: Context) -> Tuple[str, ...]:
        """Name the resource: one holder of it on a GPU at a time."""
        return (f"gpu:{uuid_in(gpu_of(params.gpu, context))}:{self.resource}",)

    def capture(self, params: Params, context: Context) -> JsonObject:
        """Read what was free before, for the report; the undo needs only the GPU."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        now = gpu_memory.memory(uuid, None, context)
        order: JsonObject = {"uuid": uuid, "simulator": simulator(context), **self.wants(params, uuid, context)}
        return {"uuid": uuid, "total_mib": now.total // MIB, "free_mib": now.free // MIB, "holder": order}

    def holder(self, params: Params, prior: JsonMapping) -> Optional[HolderPlan]:  # noqa: ARG002 (contract)
        """Plan the process: it gets exactly what was captured for it."""
        order = prior["holder"]
        return HolderPlan(self.role, order) if isinstance(order, dict) else None

    def restored(
        self,
        params: Params,  # noqa: ARG002 (contract)
        prior: JsonMapping,
        held: Optional[Held],
        context: Context,
    ) -> Restored:
        """Read back that the process is gone and holds nothing."""
        return holder_is_gone(uuid_in(prior), held, context)


def alive(held: Optional[Held]) -> Held:
    """Return the holder that runs, or say why it does not."""
    if held is None:
        raise Unverified("No holder process was started, so nothing is held.")
    if not held.alive:
        raise Unverified(f"The holder process {held.pid} has ended: {held.report.get('error', 'it left no word')}.")
    return held


def holder_is_gone(uuid: str, held: Optional[Held], context: Context) -> Restored:
    """Read back that the ended holder has no memory on the GPU any more: that is the whole undo."""
    pid = None if held is None else held.pid

    def nothing_held() -> bool:
        return gpu_memory.memory(uuid, pid, context).mine is None

    gone = (held is None or not held.alive) and wait_until(nothing_held, GIVES_BACK_WITHIN_S, 0.05, context)
    now = gpu_memory.memory(uuid, pid, context)
    by_hand = (
        f"Process {pid} still holds {(now.mine or 0) // MIB} MiB of GPU {uuid}: end it (kill -9 {pid}); "
        "if it does not go, the driver is stuck: take the host out of service and reboot it."
    )
    return Restored(
        clean=gone,
        values={"holder_bytes": now.mine or 0, "free_mib": now.free // MIB, "used_percent": now.used_percent},
        by_hand="" if gone else by_hand,
    )
