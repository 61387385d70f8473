# SPDX-License-Identifier: Apache-2.0
"""The GPUs of a host with what NVML tells of each; a driver that does not answer is unknown, and not no GPU."""

from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.readings.catalogue import Answer, Tools, ask
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["gpus"]


def gpus(tools: Tools) -> Answer:
    """Return the GPUs by UUID; under "*" of the unknown is why there may be more."""
    answer = Answer()
    try:
        found = tools.driver.call("list_gpus")
    except DriverFailed as error:
        answer.unknown["*"] = str(error)
        return answer
    for gpu in found if isinstance(found, list) else []:
        uuid = gpu.get("uuid") if isinstance(gpu, dict) else None
        if isinstance(uuid, str):
            _put(answer, tools, uuid)
        else:
            answer.unknown["*"] = f"a GPU does not answer: {_why(gpu)}"
    return answer


def _why(gpu: JsonValue) -> str:
    return str(gpu.get("why")) if isinstance(gpu, dict) else repr(gpu)


def _put(answer: Answer, tools: Tools, uuid: str) -> None:
    try:
        one = ask(tools, "read_gpu_facts", uuid)
    except DriverFailed as error:
        answer.unknown[uuid] = str(error)
        return
    known: JsonObject = one.values
    answer.values[uuid] = known
    answer.unknown.update({f"{uuid}.{name}": why for name, why in one.unknown.items()})
