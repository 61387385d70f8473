# SPDX-License-Identifier: Apache-2.0
"""Memory and its slope, utilisation, power."""

from typing import List

from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.readings.catalogue import Answer, Tools, ask, gpu_uuid, reading
from chaosgpu.agent.readings.window import SERIES_KEYS, Sample, sample, slope_per_s, window_of
from chaosgpu.agent.values import JsonMapping, JsonValue

_SLOPE_SAMPLES = 5
_S_IN_MIN = 60.0


@reading("gpu.memory", SERIES_KEYS)
def memory(params: JsonMapping, tools: Tools) -> Answer:
    """Return total, reserved, used, free MiB and used percent, per process too; with a window, the slope of used."""
    uuid = gpu_uuid(params, tools)
    window = window_of(params, _SLOPE_SAMPLES)
    series: List[Sample] = []
    if window is not None:
        series = sample(lambda: _number(tools.driver.call("used_mib", uuid)), window, tools.clock)
    answer = ask(tools, "read_memory", uuid)
    holders = ask(tools, "read_processes", uuid)
    answer.note("processes", holders.values.get("processes"), holders.why("compute"))
    if window is not None:
        slope = slope_per_s(series)
        answer.note(
            "slope_mib_per_min", None if slope is None else slope * _S_IN_MIN, "every sample was of the same moment"
        )
        answer.values["samples"] = _shown(series, "used_mib")
    return answer


@reading("gpu.utilization", SERIES_KEYS)
def utilization(params: JsonMapping, tools: Tools) -> Answer:
    """Return how busy the GPU and its memory are; with a window, the least, mean and most of the GPU's."""
    uuid = gpu_uuid(params, tools)
    window = window_of(params, _SLOPE_SAMPLES)
    answer = ask(tools, "read_utilization", uuid)
    if window is None or "gpu_percent" not in answer.values:
        return answer
    series = sample(lambda: _number(ask(tools, "read_utilization", uuid).values["gpu_percent"]), window, tools.clock)
    seen = [value for _, value in series]
    answer.values.update({"min_percent": min(seen), "mean_percent": sum(seen) / len(seen), "max_percent": max(seen)})
    answer.values["samples"] = _shown(series, "gpu_percent")
    return answer


@reading("gpu.power")
def power(params: JsonMapping, tools: Tools) -> Answer:
    """Return the draw and the limits in watts, and whether the limit is below the product's default."""
    answer = ask(tools, "read_power", gpu_uuid(params, tools))
    limit, default = answer.number("limit_watts"), answer.number("default_limit_watts")
    capped = limit < default if limit is not None and default is not None else None
    answer.note("capped", capped, "the limit or its default is unknown")
    return answer


def _number(value: JsonValue) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DriverFailed(f"The driver gave {value!r} where a number was due.")
    return float(value)


def _shown(series: List[Sample], name: str) -> JsonValue:
    return [{"at_s": round(at, 3), name: value} for at, value in series]
