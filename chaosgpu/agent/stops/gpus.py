# SPDX-License-Identifier: Apache-2.0
"""Which GPUs a condition looks at, and one number of one of them: each is known, or the condition is unread."""

from typing import Callable, List

from chaosgpu.agent.readings.catalogue import Answer, Tools, gpu_uuid
from chaosgpu.agent.stops.contract import Look, Unread
from chaosgpu.agent.values import JsonMapping

__all__ = ["each", "known", "named"]


def named(params: JsonMapping, tools: Tools) -> List[str]:
    """Return the UUID of the GPU that is named, or of every GPU; one that does not answer is not left out."""
    if params.get("gpu") is not None:
        return [gpu_uuid({"gpu": params["gpu"]}, tools)]
    listed = tools.driver.call("list_gpus")
    found = [gpu.get("uuid") if isinstance(gpu, dict) else None for gpu in (listed if isinstance(listed, list) else [])]
    uuids = [uuid for uuid in found if isinstance(uuid, str)]
    if not uuids or len(uuids) < len(found):
        raise Unread(f"of {len(found)} GPUs that NVML shows {len(uuids)} answer")
    return uuids


def each(params: JsonMapping, tools: Tools, look: Callable[[str], Look]) -> Look:
    """Look at each GPU: the first that meets the condition decides, and all of them must be read."""
    looks = [look(uuid) for uuid in named(params, tools)]
    met = [one for one in looks if one.met]
    return met[0] if met else Look(met=False, reading="; ".join(one.reading for one in looks))


def known(answer: Answer, name: str, what: str) -> float:
    """Return a number of a reading; Unread with the reason where there is none."""
    number = answer.number(name)
    if number is None:
        raise Unread(f"{what} is unknown: {answer.why(name)}")
    return number
