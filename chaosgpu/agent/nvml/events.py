# SPDX-License-Identifier: Apache-2.0
"""Xid events from NVML's event set: only those that happen from the registration on."""

from typing import Any, Dict, List, Optional

from chaosgpu.agent.nvml.collect import Collected
from chaosgpu.agent.nvml_calls import fail, nvml, nvml_call
from chaosgpu.agent.values import JsonValue

_TIMEOUT = 10
_MOST_AT_ONCE = 1000
_sets: Dict[str, Any] = {}


@nvml_call
def listen_for_xids(uuid: str) -> JsonValue:
    """Register for the Xid events of one GPU; `heard_xids` returns those that came since."""
    handle = Collected(uuid).handle
    if uuid not in _sets:
        events = nvml.nvmlEventSetCreate()
        try:
            nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
        except nvml.NVMLError as error:
            nvml.nvmlEventSetFree(events)
            fail(error.value, f"Registering for the Xid events of GPU {uuid}")
        _sets[uuid] = events
    return None


@nvml_call
def heard_xids(uuid: str, wait_ms: int) -> JsonValue:
    """Wait up to `wait_ms` for an event and return the Xid codes that have come, oldest first."""
    found: List[JsonValue] = []
    code = _next_xid(uuid, wait_ms)
    while code is not None and len(found) < _MOST_AT_ONCE:
        found.append(code)
        code = _next_xid(uuid, 0)
    return found


def _next_xid(uuid: str, wait_ms: int) -> Optional[int]:
    try:
        return int(nvml.nvmlEventSetWait_v2(_sets[uuid], wait_ms).eventData)
    except nvml.NVMLError as error:
        if error.value == _TIMEOUT:
            return None
        fail(error.value, f"Waiting for the Xid events of GPU {uuid}")
