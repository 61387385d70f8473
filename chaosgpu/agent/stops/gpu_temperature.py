# SPDX-License-Identifier: Apache-2.0
"""A GPU is hotter than a limit."""

from chaosgpu.agent.readings.catalogue import Tools, ask
from chaosgpu.agent.stops.contract import GPU, Condition, Look, Parameter
from chaosgpu.agent.stops.gpus import each, known
from chaosgpu.agent.values import JsonMapping

__all__ = ["GPU_TEMPERATURE_ABOVE"]


def _look(params: JsonMapping, _: JsonMapping, tools: Tools) -> Look:
    limit = float(str(params["celsius"]))

    def one(uuid: str) -> Look:
        celsius = known(ask(tools, "read_temperature", uuid), "celsius", f"the temperature of {uuid}")
        return Look(celsius > limit, f"{uuid} has {celsius:g} °C, and the limit is {limit:g}")

    return each(params, tools, one)


GPU_TEMPERATURE_ABOVE = Condition(
    "gpu_temperature_above",
    "a GPU is hotter than this",
    (Parameter("celsius", "number", "°C of the GPU's own sensor", -50, 200), GPU),
    _look,
)
