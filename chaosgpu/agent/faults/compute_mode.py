# SPDX-License-Identifier: Apache-2.0
"""gpu.compute_mode.set: no new process may use the GPU, or only the squatter that has it."""

from dataclasses import dataclass
from typing import Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, DriverFailed, Refused, Unverified
from chaosgpu.agent.faults import gpu_memory
from chaosgpu.agent.faults.contract import Context, Held, HolderPlan, Restored
from chaosgpu.agent.faults.held import alive, holder_is_gone
from chaosgpu.agent.faults.on_gpu import GPU_KEYS, OnGpu, ask, parse_gpu, simulator, uuid_in
from chaosgpu.agent.faults.setting import GpuSetting
from chaosgpu.agent.values import JsonMapping, JsonObject

PROHIBITED, EXCLUSIVE = 2, 3
MODES = {"prohibited": PROHIBITED, "exclusive_process": EXCLUSIVE}
NAMES = {0: "default", 1: "exclusive_thread", PROHIBITED: "prohibited", EXCLUSIVE: "exclusive_process"}


@dataclass(frozen=True)
class ModeParams(OnGpu):
    """The mode, and whether a process of ours takes the one place that exclusive leaves."""

    mode: str
    squatter: bool


class ComputeMode(GpuSetting[ModeParams]):
    """The compute mode."""

    name = "gpu.compute_mode.set"
    summary = "Shuts new processes out of the GPU: prohibited to all, or exclusive with a squatter that has it."
    setting = "compute mode"
    resource = "compute_mode"
    setter = "set_compute_mode"
    claimed = "the GPU's compute mode"
    refuses = "MIG on; a squatter where another process has the GPU already"
    traps = (
        "Processes that have a context keep running: kill or restart the service to see it fail. The squatter takes "
        "its context first and the mode is set after it, for the other way round anybody could come first."
    )

    def parse(self, raw: JsonMapping) -> ModeParams:
        """Read the values alone."""
        values.only(raw, self.name, GPU_KEYS | {"mode", "squatter"})
        mode = values.text(raw, "mode")
        if mode not in MODES:
            raise BadRequest(f"mode must be prohibited or exclusive_process, not {mode!r}.")
        squatter = values.flag(raw, "squatter", default=False)
        if squatter and mode == "prohibited":
            raise BadRequest("squatter goes with mode exclusive_process only: prohibited lets nobody in, not even it.")
        return ModeParams(parse_gpu(raw), mode, squatter)

    def goal(self, params: ModeParams) -> int:
        """Return the driver's number of the mode."""
        return MODES[params.mode]

    def now(self, uuid: str, context: Context) -> int:
        """Return the driver's number of the mode in force."""
        mode = ask(context, "a compute mode", "setting_compute_mode", uuid)
        if not isinstance(mode, int):
            raise DriverFailed(f"The driver gave {mode!r} as the compute mode of GPU {uuid}.")
        return mode

    def shown(self, value: int) -> JsonObject:
        """Return its name."""
        return {"compute_mode": self.said(value)}

    def said(self, value: int) -> str:
        """Return its name."""
        return NAMES.get(value, str(value))

    def allow(self, params: ModeParams, uuid: str, context: Context) -> None:
        """Refuse MIG, and a squatter that would not be alone."""
        if context.driver.call("mig_is_on", uuid):
            raise Refused(f"GPU {uuid} is split by MIG: its compute mode is that of each instance.")
        if params.squatter:
            gpu_memory.context_possible(uuid, context)
            if gpu_memory.processes(uuid, context):
                raise Refused(
                    f"Other processes have GPU {uuid}: a squatter can shut nobody out who is in. "
                    "End them first, or set the mode without a squatter."
                )

    def capture(self, params: ModeParams, context: Context) -> JsonObject:
        """Read the mode in force, and which CUDA the squatter must use."""
        return {**super().capture(params, context), "simulator": simulator(context)}

    def holder(self, params: ModeParams, prior: JsonMapping) -> Optional[HolderPlan]:
        """Plan the squatter: it takes its context before it says ready, so before the mode is set."""
        if not params.squatter:
            return None
        return HolderPlan("squat", {"uuid": prior["uuid"], "simulator": prior["simulator"]})

    def verify(self, params: ModeParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:
        """Read the mode back twice, and that the squatter is in."""
        observed = super().verify(params, prior, held, context)
        if not params.squatter:
            return observed
        holder = alive(held)
        now = gpu_memory.memory(uuid_in(prior), holder.pid, context)
        if now.mine is None:
            raise Unverified(f"The mode is set, but our squatter {holder.pid} has no context on GPU {uuid_in(prior)}.")
        return {**observed, "holder_pid": holder.pid}

    def restored(self, params: ModeParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:
        """Compare the mode with what was captured, and see that the squatter is gone."""
        mode = super().restored(params, prior, held, context)
        if not params.squatter:
            return mode
        gone = holder_is_gone(uuid_in(prior), held, context)
        by_hand = " ".join(text for text in (mode.by_hand, gone.by_hand) if text)
        return Restored(mode.clean and gone.clean, {**mode.values, **gone.values}, mode.left_alone, by_hand)
