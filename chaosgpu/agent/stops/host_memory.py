# SPDX-License-Identifier: Apache-2.0
"""The host has less memory to give than a limit."""

from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.stops.contract import Condition, Look, Parameter, Unread
from chaosgpu.agent.stops.kernel_files import words_of
from chaosgpu.agent.values import JsonMapping

__all__ = ["HOST_MEMORY_BELOW"]

_KIB_IN_MIB = 1024


def _look(params: JsonMapping, _: JsonMapping, tools: Tools) -> Look:
    limit = float(str(params["mib"]))
    path = f"{tools.proc}/meminfo"
    for words in words_of(path):
        if words[0] == "MemAvailable:" and len(words) > 1 and words[1].isdigit():
            free = int(words[1]) / _KIB_IN_MIB
            return Look(free < limit, f"the host has {free:.0f} MiB of memory available, and the limit is {limit:g}")
    raise Unread(f"{path} does not tell MemAvailable")


HOST_MEMORY_BELOW = Condition(
    "host_memory_below",
    "the host has less memory available than this",
    (Parameter("mib", "number", "MiB", 0, 1e9),),
    _look,
)
