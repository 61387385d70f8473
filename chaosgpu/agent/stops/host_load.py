# SPDX-License-Identifier: Apache-2.0
"""The host is busier than a limit: by its load, or by how much time is lost to waiting (pressure, PSI)."""

from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.stops.contract import Condition, Look, Parameter, Unread
from chaosgpu.agent.stops.kernel_files import number_of, words_of
from chaosgpu.agent.values import JsonMapping

__all__ = ["HOST_LOAD_ABOVE", "HOST_PRESSURE_ABOVE"]


def _load(params: JsonMapping, _: JsonMapping, tools: Tools) -> Look:
    limit = float(str(params["load"]))
    path = f"{tools.proc}/loadavg"
    words = [word for line in words_of(path)[:1] for word in line]
    if not words:
        raise Unread(f"{path} is empty")
    load = number_of(words[0], path)
    return Look(load > limit, f"the host's load over a minute is {load:g}, and the limit is {limit:g}")


def _pressure(params: JsonMapping, _: JsonMapping, tools: Tools) -> Look:
    limit, resource = float(str(params["percent"])), str(params["resource"])
    path = f"{tools.proc}/pressure/{resource}"
    for words in words_of(path):
        if words[0] == "some" and len(words) > 1 and words[1].startswith("avg10="):
            share = number_of(words[1][len("avg10=") :], path)
            return Look(share > limit, f"{share:g} % of 10 s were lost waiting for {resource}, the limit is {limit:g}")
    raise Unread(f"{path} does not tell what it should")


HOST_LOAD_ABOVE = Condition(
    "host_load_above",
    "the host's load over the last minute is higher than this",
    (Parameter("load", "number", "processes that run or wait for the disk", 0, 1e6),),
    _load,
)
HOST_PRESSURE_ABOVE = Condition(
    "host_pressure_above",
    "some process has waited for a resource for more than this share of the last 10 s",
    (
        Parameter("percent", "number", "%", 0, 100),
        Parameter("resource", "text", "what is waited for", choices=("cpu", "memory", "io")),
    ),
    _pressure,
)
