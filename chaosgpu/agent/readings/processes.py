# SPDX-License-Identifier: Apache-2.0
"""The processes on a GPU, each with the start time that tells it from a later one with the same pid."""

import os
from typing import List

from chaosgpu.agent import process as system
from chaosgpu.agent.readings.catalogue import Answer, Tools, ask, gpu_uuid, reading
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

# The kernel's fixed inode of the first pid namespace (PROC_PID_INIT_INO).
_FIRST_PID_NAMESPACE = "pid:[4026531836]"


@reading("gpu.processes")
def processes(params: JsonMapping, tools: Tools) -> Answer:
    """Return each process on the GPU, and how many of them hold memory without being in /proc any more."""
    answer = ask(tools, "read_processes", gpu_uuid(params, tools))
    found = answer.values.get("processes")
    if not isinstance(found, list):
        answer.unknown["processes"] = answer.unknown["orphans"] = answer.why("compute")
        return answer
    shown: List[JsonValue] = [_with_host_view(entry, tools) for entry in found if isinstance(entry, dict)]
    answer.values.update({"processes": shown, "count": len(shown)})
    orphans = [entry for entry in shown if isinstance(entry, dict) and entry["in_proc"] is False]
    if orphans and not _first_namespace(tools):
        answer.unknown["orphans"] = "this agent runs in a container, where /proc does not show the host's processes"
    else:
        answer.values["orphans"] = len(orphans)
    return answer


def _with_host_view(entry: JsonObject, tools: Tools) -> JsonObject:
    pid = entry["pid"]
    start_time = system.start_time(pid) if isinstance(pid, int) else None
    in_proc = os.path.isdir(f"{tools.proc}/{pid}")  # noqa: PTH112 (pathlib costs 9 ms at start)
    return {**entry, "start_time": start_time, "in_proc": in_proc}


def _first_namespace(tools: Tools) -> bool:
    try:
        return os.readlink(f"{tools.proc}/self/ns/pid") == _FIRST_PID_NAMESPACE  # noqa: PTH115 (as above)
    except OSError:
        return False
