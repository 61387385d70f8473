# SPDX-License-Identifier: Apache-2.0
"""Temperature against the device's own thresholds, clocks with the reasons that hold them down, throttle time."""

from typing import Dict, List, Tuple

from chaosgpu.agent.readings.catalogue import Answer, Tools, ask, gpu_uuid, reading
from chaosgpu.agent.readings.window import WINDOW_KEYS, window_of
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

# nvml.h, nvmlClocksEventReasons: bit, name, whether it is a sign of trouble. Bad is 0xE8: the mask of Azure's
# CycleCloud health agent; the others are idleness or what somebody set on purpose.
REASONS: Tuple[Tuple[int, str, bool], ...] = (
    (0x1, "idle", False),
    (0x2, "applications_clocks_setting", False),
    (0x4, "sw_power_cap", False),
    (0x8, "hw_slowdown", True),
    (0x10, "sync_boost", False),
    (0x20, "sw_thermal_slowdown", True),
    (0x40, "hw_thermal_slowdown", True),
    (0x80, "hw_power_brake", True),
    (0x100, "display_clock_setting", False),
)


@reading("gpu.temperature")
def temperature(params: JsonMapping, tools: Tools) -> Answer:
    """Return the temperature, the device's thresholds and the margin to the first one that slows the GPU down."""
    answer = ask(tools, "read_temperature", gpu_uuid(params, tools))
    celsius = answer.number("celsius")
    limits: Dict[str, float] = {}
    for name in ("gpu_max", "slowdown"):
        limit = answer.number(f"{name}_celsius")
        if limit:  # a threshold of 0 is one that the board does not have
            limits[name] = limit
    nearest = min(limits, key=lambda name: limits[name], default=None)
    if celsius is not None and nearest is not None:
        answer.values.update({"margin_celsius": limits[nearest] - celsius, "margin_to": nearest})
    else:
        answer.note("margin_celsius", answer.values.get("driver_margin_celsius"), "the device tells no threshold")
        if "margin_celsius" in answer.values:
            answer.values["margin_to"] = "driver"
    return answer


@reading("gpu.clocks")
def clocks(params: JsonMapping, tools: Tools) -> Answer:
    """Return the clocks, their maxima, and the event reasons by name, split into bad and benign."""
    answer = ask(tools, "read_clocks", gpu_uuid(params, tools))
    bits = answer.values.get("reason_bits")
    if isinstance(bits, int):
        answer.values.update(_decoded(bits))
    else:
        answer.unknown["bad_reasons"] = answer.unknown["benign_reasons"] = answer.why("reason_bits")
    now, most = answer.number("sm_mhz"), answer.number("max_sm_mhz")
    share = 100.0 * now / most if now is not None and most else None
    answer.note("sm_percent_of_max", share, "the SM clock or its maximum is unknown")
    return answer


def _decoded(bits: int) -> JsonObject:
    bad: List[JsonValue] = [name for bit, name, is_bad in REASONS if bits & bit and is_bad]
    benign: List[JsonValue] = [name for bit, name, is_bad in REASONS if bits & bit and not is_bad]
    rest = bits & ~sum(bit for bit, _, _ in REASONS)
    if rest:
        bad.append(f"unknown_{rest:#x}")  # a reason newer than this program is not known to be harmless
    return {"bad_reasons": bad, "benign_reasons": benign}


@reading("gpu.throttle", WINDOW_KEYS)
def throttle(params: JsonMapping, tools: Tools) -> Answer:
    """Return for how many ms each cause has held the clocks down; with a window, how many of them within it."""
    uuid = gpu_uuid(params, tools)
    window = window_of(params)
    first = ask(tools, "read_throttle", uuid)
    if window is None:
        return first
    start_s = tools.clock.boottime_s()
    tools.clock.sleep(window.seconds)
    answer = ask(tools, "read_throttle", uuid)
    answer.values["window_s"] = tools.clock.boottime_s() - start_s
    added: JsonObject = {}
    for name in list(answer.values):
        before, after = first.number(name), answer.number(name)
        if before is not None and after is not None:
            added[name] = after - before
    answer.values["added"] = added
    return answer
