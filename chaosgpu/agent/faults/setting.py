# SPDX-License-Identifier: Apache-2.0
"""What the faults share that change one setting of a GPU which the driver can be asked for."""

from abc import abstractmethod
from typing import ClassVar, Optional, Tuple, TypeVar

from chaosgpu.agent.errors import NoEffect, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import OnGpu, ask, gpu_of, refuse_unhealthy, uuid_in, whole_answer
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["GpuSetting"]

INTERVAL_S = 0.3

Params = TypeVar("Params", bound=OnGpu)


class GpuSetting(Fault[Params]):
    """One whole number with a getter and a setter: read before, set, read back twice, put back if it is still ours."""

    plane = "state"
    tier = "T2"
    fidelity = "exact"
    privilege = "root"
    setting: ClassVar[str]  # as sentences name it
    resource: ClassVar[str]  # what of the GPU it claims
    setter: ClassVar[str]  # the driver call (uuid, value)

    @abstractmethod
    def goal(self, params: Params) -> int:
        """Return the value to set, as the driver counts it."""

    @abstractmethod
    def now(self, uuid: str, context: Context) -> int:
        """Ask the driver for the value in force."""

    @abstractmethod
    def shown(self, value: int) -> JsonObject:
        """Return the value as a report shows it, with its unit in the name."""

    @abstractmethod
    def said(self, value: int) -> str:
        """Return the value as a sentence says it, with its unit."""

    def allow(self, params: Params, uuid: str, context: Context) -> None:
        """Refuse what this GPU cannot be set to; for overriding."""

    def check(self, params: Params, context: Context) -> None:
        """Refuse an ailing GPU, a product without the setting, a value out of bounds and one that is in force."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        refuse_unhealthy(uuid, context)
        present = self.now(uuid, context)
        self.allow(params, uuid, context)
        if present == self.goal(params):
            raise NoEffect(f"The {self.setting} of GPU {uuid} is {self.said(present)} already: nothing would change.")

    def claims(self, params: Params, context: Context) -> Tuple[str, ...]:
        """Name the setting."""
        return (f"gpu:{uuid_in(gpu_of(params.gpu, context))}:{self.resource}",)

    def capture(self, params: Params, context: Context) -> JsonObject:
        """Read the value in force."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        return {"uuid": uuid, "value": self.now(uuid, context)}

    def inject(self, params: Params, prior: JsonMapping, context: Context) -> None:
        """Set the goal."""
        ask(context, f"setting the {self.setting}", self.setter, uuid_in(prior), self.goal(params))

    def verify(self, params: Params, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read the goal back twice."""
        for pause_s in (0.0, INTERVAL_S):
            context.clock.sleep(pause_s)
            present = self.now(uuid_in(prior), context)
            if present != self.goal(params):
                raise Unverified(
                    f"The driver said yes to a {self.setting} of {self.said(self.goal(params))} on GPU "
                    f"{uuid_in(prior)}, but reads back {self.said(present)}."
                )
        return self.shown(present)

    def undo(self, params: Params, prior: JsonMapping, context: Context) -> None:
        """Put back what was read, if our value is still in force."""
        if self.now(uuid_in(prior), context) == self.goal(params):
            ask(context, f"setting the {self.setting}", self.setter, uuid_in(prior), whole_answer(prior, "value"))

    def restored(self, params: Params, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """Compare with what was captured; what somebody else set meanwhile is theirs."""
        uuid, before = uuid_in(prior), whole_answer(prior, "value")
        present = self.now(uuid, context)
        ours = present == self.goal(params)
        left_alone: Tuple[str, ...] = ()
        if not ours and present != before:
            change = f"it was {self.said(before)}, and somebody has set {self.said(present)} since"
            left_alone = (f"{self.setting} of GPU {uuid}: {change}; that was not overwritten",)
        by_hand = f"Set the {self.setting} of GPU {uuid} to {self.said(before)}; it still is {self.said(present)}."
        return Restored(
            clean=not ours, values=self.shown(present), left_alone=left_alone, by_hand=by_hand if ours else ""
        )
