# SPDX-License-Identifier: Apache-2.0
"""A GPU has had more uncorrectable memory errors since the fault was asked for."""

from chaosgpu.agent.readings.catalogue import Tools, ask
from chaosgpu.agent.stops.contract import GPU, Condition, Look, Parameter, Unread
from chaosgpu.agent.stops.gpus import each, known, named
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["GPU_ECC_GROWN"]


def _errors(uuid: str, tools: Tools) -> int:
    return int(known(ask(tools, "read_ecc", uuid), "uncorrected_volatile", f"the uncorrected ECC errors of {uuid}"))


def _begin(params: JsonMapping, tools: Tools) -> JsonObject:
    return {uuid: _errors(uuid, tools) for uuid in named(params, tools)}


def _look(params: JsonMapping, begun: JsonMapping, tools: Tools) -> Look:
    allowed = int(str(params["by"]))

    def one(uuid: str) -> Look:
        now, before = _errors(uuid, tools), begun.get(uuid)
        if not isinstance(before, int) or now < before:
            raise Unread(f"{uuid} has {now} uncorrected ECC errors, and had {before}: they were not counted through")
        return Look(now - before > allowed, f"{uuid} has {now - before} new uncorrected ECC errors, allowed {allowed}")

    return each(params, tools, one)


GPU_ECC_GROWN = Condition(
    "gpu_ecc_grown",
    "a GPU has new uncorrectable memory errors",
    (Parameter("by", "whole", "how many new ones are allowed", 0, 1 << 30, required=False, default=0), GPU),
    _look,
    _begin,
)
