# SPDX-License-Identifier: Apache-2.0
"""gpu.power.cap: a lower power limit, so that the GPU slows down under load."""

from dataclasses import dataclass

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.on_gpu import GPU_KEYS, OnGpu, answer_object, parse_gpu, whole_answer
from chaosgpu.agent.faults.setting import GpuSetting
from chaosgpu.agent.values import JsonMapping, JsonObject

MILLI = 1000


@dataclass(frozen=True)
class PowerParams(OnGpu):
    """The limit to set."""

    watts: int


class PowerCap(GpuSetting[PowerParams]):
    """The board's power limit."""

    name = "gpu.power.cap"
    summary = "Sets the GPU's power limit: under load its clocks fall until it draws no more than that."
    setting = "power limit"
    resource = "power_limit"
    setter = "set_power_limit"
    claimed = "the GPU's power limit"
    refuses = "products without a settable limit (laptops, vGPU guests, some GeForce); watts outside the GPU's bounds"
    traps = (
        "An idle GPU shows no effect: put load on it. With persistence off, the driver forgets the limit when the last "
        "process leaves the GPU."
    )

    def parse(self, raw: JsonMapping) -> PowerParams:
        """Read the values alone."""
        values.only(raw, self.name, GPU_KEYS | {"watts"})
        return PowerParams(parse_gpu(raw), values.whole(raw, "watts", 1, 100_000))

    def goal(self, params: PowerParams) -> int:
        """Return milliwatts."""
        return params.watts * MILLI

    def now(self, uuid: str, context: Context) -> int:
        """Return the limit in force, in milliwatts."""
        return whole_answer(self._limits(uuid, context), "limit_mw")

    def shown(self, value: int) -> JsonObject:
        """Return it in watts."""
        return {"power_limit_watts": value / MILLI}

    def said(self, value: int) -> str:
        """Return it in watts."""
        return f"{value / MILLI:g} W"

    def allow(self, params: PowerParams, uuid: str, context: Context) -> None:
        """Refuse what is outside the GPU's own bounds."""
        limits = self._limits(uuid, context)
        low, high = whole_answer(limits, "min_mw"), whole_answer(limits, "max_mw")
        if not low <= self.goal(params) <= high:
            raise BadRequest(
                f"watts must be between {low / MILLI:g} and {high / MILLI:g} on GPU {uuid}, not {params.watts}."
            )

    def _limits(self, uuid: str, context: Context) -> JsonObject:
        return answer_object(context, "a power limit", "setting_power", uuid)
