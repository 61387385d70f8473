# SPDX-License-Identifier: Apache-2.0
"""Whether a GPU is sound: ECC, remapped rows, retired pages, recovery action; and the gate for every fault."""

from typing import List

from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.readings.catalogue import Answer, Tools, ask, gpu_uuid, reading
from chaosgpu.agent.values import JsonMapping

_LOST, _RESET_REQUIRED = 15, 16


@reading("gpu.ecc")
def ecc(params: JsonMapping, tools: Tools) -> Answer:
    """Return corrected and uncorrected errors, volatile and aggregate."""
    return ask(tools, "read_ecc", gpu_uuid(params, tools))


@reading("gpu.remapped_rows")
def remapped_rows(params: JsonMapping, tools: Tools) -> Answer:
    """Return remapped rows, and whether a remapping waits for a reset or has failed."""
    return ask(tools, "read_remapped_rows", gpu_uuid(params, tools))


@reading("gpu.retired_pages")
def retired_pages(params: JsonMapping, tools: Tools) -> Answer:
    """Return retired pages, and whether a retirement waits for a reset."""
    return ask(tools, "read_retired_pages", gpu_uuid(params, tools))


@reading("gpu.recovery_action")
def recovery_action(params: JsonMapping, tools: Tools) -> Answer:
    """Return what the driver wants done with the GPU."""
    return ask(tools, "read_recovery_action", gpu_uuid(params, tools))


def healthy(driver: Driver, uuid: str) -> List[str]:
    """Return the reasons, as sentences, for which no fault may be put on this GPU; none: an empty list."""
    try:
        driver.call("touch_gpu", uuid)
        found = driver.call("what_ails", uuid)
    except DriverFailed as error:
        if error.code == _LOST:
            return ["it has fallen off the bus"]
        if error.code == _RESET_REQUIRED:
            return ["it needs a reset before it can be used"]
        raise
    return [str(reason) for reason in found] if isinstance(found, list) else []
