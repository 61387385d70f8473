# SPDX-License-Identifier: Apache-2.0
"""A GPU has less free memory than a limit."""

from chaosgpu.agent.readings.catalogue import Tools, ask
from chaosgpu.agent.stops.contract import GPU, Condition, Look, Parameter
from chaosgpu.agent.stops.gpus import each, known
from chaosgpu.agent.values import JsonMapping

__all__ = ["GPU_MEMORY_BELOW"]


def _look(params: JsonMapping, _: JsonMapping, tools: Tools) -> Look:
    limit = float(str(params["free_mib"]))

    def one(uuid: str) -> Look:
        free = known(ask(tools, "read_memory", uuid), "free_mib", f"the free memory of {uuid}")
        return Look(free < limit, f"{uuid} has {free:.0f} MiB free, and the limit is {limit:g}")

    return each(params, tools, one)


GPU_MEMORY_BELOW = Condition(
    "gpu_memory_below",
    "a GPU has less free memory than this",
    (Parameter("free_mib", "number", "MiB", 0, 1e9), GPU),
    _look,
)
