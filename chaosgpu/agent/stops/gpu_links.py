# SPDX-License-Identifier: Apache-2.0
"""A GPU has lost PCIe lanes or NVLinks since the fault was asked for, where it tells of them.

The PCIe generation does not count: an idle GPU lowers it to save power.
"""

from chaosgpu.agent.readings.catalogue import Tools, ask
from chaosgpu.agent.stops.contract import GPU, Condition, Look, Unread
from chaosgpu.agent.stops.gpus import each, known, named
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["GPU_LINK_LOST"]


def _links(uuid: str, tools: Tools) -> JsonObject:
    found: JsonObject = {"PCIe lanes": int(known(ask(tools, "read_pcie", uuid), "width", f"the PCIe width of {uuid}"))}
    links = ask(tools, "read_nvlink", uuid).values.get("links")
    if isinstance(links, list):  # a GPU without NVLink has none to lose
        found["NVLinks"] = len([link for link in links if isinstance(link, dict) and link.get("active") is True])
    return found


def _begin(params: JsonMapping, tools: Tools) -> JsonObject:
    return {uuid: _links(uuid, tools) for uuid in named(params, tools)}


def _look(params: JsonMapping, begun: JsonMapping, tools: Tools) -> Look:
    def one(uuid: str) -> Look:
        before, now = begun.get(uuid), _links(uuid, tools)
        if not isinstance(before, dict) or set(now) != set(before):
            raise Unread(f"{uuid} tells {now}, and told {before}")
        for kind, count in now.items():
            if int(str(count)) < int(str(before[kind])):
                return Look(met=True, reading=f"{uuid} has {count} {kind}, and had {before[kind]}")
        return Look(met=False, reading=f"{uuid} has " + " and ".join(f"{count} {kind}" for kind, count in now.items()))

    return each(params, tools, one)


GPU_LINK_LOST = Condition("gpu_link_lost", "a GPU has lost PCIe lanes or NVLinks", (GPU,), _look, _begin)
