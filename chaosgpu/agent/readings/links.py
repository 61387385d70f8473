# SPDX-License-Identifier: Apache-2.0
"""PCIe, NVLink and fabric, with what the bare numbers mean."""

from typing import Dict, Optional

from chaosgpu.agent.readings.catalogue import Answer, Tools, ask, gpu_uuid, reading
from chaosgpu.agent.readings.window import WINDOW_KEYS, window_of
from chaosgpu.agent.values import JsonMapping, JsonValue

# Under this utilisation the driver may have lowered the link's generation to save power.
BUSY_PERCENT = 10
_S_IN_MIN = 60.0


@reading("gpu.pcie", WINDOW_KEYS)
def pcie(params: JsonMapping, tools: Tools) -> Answer:
    """Return generation and width against the most they can be, and replays; with a window, replays a minute."""
    uuid = gpu_uuid(params, tools)
    window = window_of(params)
    first = ask(tools, "read_pcie", uuid)
    if window is None:
        return _judged(first)
    start_s = tools.clock.boottime_s()
    tools.clock.sleep(window.seconds)
    answer = ask(tools, "read_pcie", uuid)
    passed_s = tools.clock.boottime_s() - start_s
    before, after = first.number("replays"), answer.number("replays")
    rate = (after - before) / passed_s * _S_IN_MIN if before is not None and after is not None and passed_s else None
    answer.note("replays_per_min", rate, answer.why("replays"))
    return _judged(answer)


def _judged(answer: Answer) -> Answer:
    """Say whether the link is degraded: a narrower one always is, a slower one only while the GPU works."""
    busy = answer.number("gpu_percent")
    under_load = None if busy is None else busy >= BUSY_PERCENT
    answer.note("under_load", under_load, answer.why("gpu_percent"))
    slower, narrower = _below(answer, "generation"), _below(answer, "width")
    if narrower or (slower and under_load):
        answer.values["degraded"] = True
    elif slower is None or narrower is None:
        answer.unknown["degraded"] = "the link's generation or width, or the most it can be, is unknown"
    elif slower:
        answer.unknown["degraded"] = "the GPU is idle, and an idle link runs at a lower generation: ask under load"
    else:
        answer.values["degraded"] = False
    return answer


def _below(answer: Answer, name: str) -> Optional[bool]:
    now, most = answer.number(name), answer.number(f"max_{name}")
    return None if now is None or most is None else now < most


@reading("gpu.nvlink")
def nvlink(params: JsonMapping, tools: Tools) -> Answer:
    """Return each link's state and errors, how many are up and down, and the sum of each kind of error."""
    answer = ask(tools, "read_nvlink", gpu_uuid(params, tools))
    links = answer.values.get("links")
    if not isinstance(links, list):
        answer.unknown["active"] = answer.unknown["inactive"] = answer.unknown["errors"] = answer.why("links")
        return answer
    up = [link for link in links if isinstance(link, dict) and link.get("active")]
    answer.values.update({"active": len(up), "inactive": len(links) - len(up)})
    sums: Dict[str, JsonValue] = {}
    for link in links:
        counts = link.get("errors") if isinstance(link, dict) else None
        for name, count in (counts if isinstance(counts, dict) else {}).items():
            known = sums.get(name, 0)
            if isinstance(count, int) and isinstance(known, int):
                sums[name] = known + count
    answer.note("errors", sums or None, "this driver tells no NVLink error counter")
    return answer


@reading("gpu.fabric")
def fabric(params: JsonMapping, tools: Tools) -> Answer:
    """Return how far the GPU has joined its NVSwitch fabric."""
    return ask(tools, "read_fabric", gpu_uuid(params, tools))
