# SPDX-License-Identifier: Apache-2.0
"""Xid errors since a moment, from two sources that do not see the same: the kernel log and NVML's own events."""

import re
import time
from typing import List, Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.readings.catalogue import GPU_KEYS, Answer, Tools, ask_object, gpu_uuid, reading
from chaosgpu.agent.readings.kernel_log import XidLine, xid_lines
from chaosgpu.agent.readings.window import LONGEST_S
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

_KEYS = GPU_KEYS | {"since_sequence", "within_s", "listen_s"}
_LONGEST_AGO_S = 7 * 86400.0
_LAST_SEQUENCE = 1 << 62
_STEP_MS = 200
_NOT_SUPPORTED = 3
BUS_ID = re.compile(r"(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?", re.IGNORECASE)


@reading("gpu.xid", _KEYS)
def xid(params: JsonMapping, tools: Tools) -> Answer:
    """Return the Xids of the GPU since a record of the log or a time ago; with `listen_s`, those NVML sees now.

    `next_sequence` in the answer is the `since_sequence` of a later question.
    """
    answer = Answer()
    if params.get("listen_s") is None:
        answer.unknown["heard"] = "NVML tells only what happens while it listens: set listen_s"
    else:
        _listen(params, tools, answer)
    _read_log(params, tools, answer)
    return answer


def _listen(params: JsonMapping, tools: Tools, answer: Answer) -> None:
    end_s = tools.clock.boottime_s() + values.number(params, "listen_s", 0.0, LONGEST_S)
    uuid = gpu_uuid(params, tools)
    try:
        tools.driver.call("listen_for_xids", uuid)
    except DriverFailed as error:
        if error.code != _NOT_SUPPORTED:
            raise
        answer.unknown["heard"] = str(error)
        return
    heard: List[JsonValue] = []
    left_ms = _STEP_MS
    while left_ms:
        left_ms = max(0, int((end_s - tools.clock.boottime_s()) * 1000))
        codes = tools.driver.call("heard_xids", uuid, min(left_ms, _STEP_MS))
        heard.extend(codes if isinstance(codes, list) else [])
    answer.values["heard"] = heard


def _read_log(params: JsonMapping, tools: Tools, answer: Answer) -> None:
    since = values.whole(params, "since_sequence", 0, _LAST_SEQUENCE) if params.get("since_sequence") is not None else 0
    after_s: Optional[float] = None
    if params.get("within_s") is not None:
        after_s = time.clock_gettime(time.CLOCK_MONOTONIC) - values.number(params, "within_s", 0.0, _LONGEST_AGO_S)
    bus = _bus_of(params, tools)
    try:
        lines, next_sequence = xid_lines(tools.kernel_log)
    except OSError as error:
        why = f"{tools.kernel_log} cannot be read ({error.strerror})"
        if isinstance(error, PermissionError):
            why += "; run the agent as root"
        answer.unknown.update({"events": why, "count": why, "next_sequence": why})
        return
    events: List[JsonValue] = [
        _event(line) for line in lines if line.bus == bus and line.sequence >= since and _is_later(line, after_s)
    ]
    answer.values.update({"events": events, "count": len(events), "next_sequence": next_sequence})


def _bus_of(params: JsonMapping, tools: Tools) -> str:
    """Name the GPU as the log does; one named by its bus is found there even when the driver has lost it."""
    name = str(params.get("gpu"))
    if BUS_ID.fullmatch(name):
        return _as_logged(name)
    try:
        return _as_logged(values.text(ask_object(tools, "find_gpu", gpu_uuid(params, tools)), "pci_bus_id"))
    except DriverFailed as error:
        raise DriverFailed(f"{error} To find its Xids all the same, name it by its PCI bus id.", error.code) from error


def _is_later(line: XidLine, after_s: Optional[float]) -> bool:
    """Tell whether a line counts; one without a time stamp does, since its error must not be missed."""
    return after_s is None or line.monotonic_s is None or line.monotonic_s >= after_s


def _event(line: XidLine) -> JsonObject:
    return {
        "xid": line.xid,
        "sequence": line.sequence,
        "monotonic_s": line.monotonic_s,
        "from_kernel": line.from_kernel,
        "pid": line.pid,
        "process": line.process,
        "text": line.text,
    }


def _as_logged(pci_bus_id: str) -> str:
    """Write 00000000:3B:00.0, or 3b:00, as the kernel log does: 0000:3b:00."""
    words = pci_bus_id.lower().split(".")[0].split(":")
    domain = words[0][-4:] if len(words) > 2 else "0000"  # noqa: PLR2004 (domain, bus, device)
    return f"{domain}:{words[-2]}:{words[-1]}"
