# SPDX-License-Identifier: Apache-2.0
"""The driver has reported a new error (Xid) of a GPU that was not expected, by the kernel's log."""

from typing import Dict, List, Tuple

from chaosgpu.agent.readings.catalogue import Tools, ask_object
from chaosgpu.agent.readings.kernel_log import XidLine, xid_lines
from chaosgpu.agent.stops.contract import GPU, Condition, Look, Parameter, Unread
from chaosgpu.agent.stops.gpus import named
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue, text

__all__ = ["GPU_XID"]


def _begin(params: JsonMapping, tools: Tools) -> JsonObject:
    """Note the log's end and the GPUs' places in it: a GPU that falls off the bus cannot be asked for its own."""
    buses: Dict[str, JsonValue] = {}
    for uuid in named(params, tools):
        domain, rest = text(ask_object(tools, "find_gpu", uuid), "pci_bus_id").lower().split(".")[0].split(":", 1)
        buses[f"{domain[-4:]}:{rest}"] = uuid
    return {"from": _log(tools)[1], "buses": buses}


def _look(params: JsonMapping, begun: JsonMapping, tools: Tools) -> Look:
    expected, start, buses = params["expected"], begun["from"], begun["buses"]
    lines, end = _log(tools)
    if not isinstance(expected, list) or not isinstance(buses, dict) or not isinstance(start, int) or end < start:
        raise Unread(f"{tools.kernel_log} ends at record {end}, and the fault began at {start}: it was cut")
    for line in lines:
        if line.sequence >= start and line.bus in buses and line.xid not in expected:
            return Look(met=True, reading=f"{buses[line.bus]} reported Xid {line.xid}: {line.text}")
    return Look(met=False, reading=f"no new Xid but those expected ({', '.join(map(str, expected)) or 'none'})")


def _log(tools: Tools) -> Tuple[List[XidLine], int]:
    try:
        return xid_lines(tools.kernel_log)
    except OSError as error:
        raise Unread(f"{tools.kernel_log} cannot be read: {error.strerror}") from error


GPU_XID = Condition(
    "gpu_xid",
    "a GPU reported an error (Xid) that was not expected",
    (Parameter("expected", "wholes", "Xids that do not stop it", 0, 1 << 16, required=False, default=[]), GPU),
    _look,
    _begin,
)
