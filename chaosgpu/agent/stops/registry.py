# SPDX-License-Identifier: Apache-2.0
"""Every stop condition of a host by name."""

from typing import Mapping

from chaosgpu.agent.stops.contract import Condition
from chaosgpu.agent.stops.file import FILE_EXISTS
from chaosgpu.agent.stops.gpu_ecc import GPU_ECC_GROWN
from chaosgpu.agent.stops.gpu_links import GPU_LINK_LOST
from chaosgpu.agent.stops.gpu_memory import GPU_MEMORY_BELOW
from chaosgpu.agent.stops.gpu_temperature import GPU_TEMPERATURE_ABOVE
from chaosgpu.agent.stops.gpu_xid import GPU_XID
from chaosgpu.agent.stops.host_load import HOST_LOAD_ABOVE, HOST_PRESSURE_ABOVE
from chaosgpu.agent.stops.host_memory import HOST_MEMORY_BELOW
from chaosgpu.agent.stops.unit import UNIT_NOT_ACTIVE

__all__ = ["CONDITIONS"]

CONDITIONS: Mapping[str, Condition] = {
    condition.name: condition
    for condition in (
        FILE_EXISTS,
        GPU_ECC_GROWN,
        GPU_LINK_LOST,
        GPU_MEMORY_BELOW,
        GPU_TEMPERATURE_ABOVE,
        GPU_XID,
        HOST_LOAD_ABOVE,
        HOST_MEMORY_BELOW,
        HOST_PRESSURE_ABOVE,
        UNIT_NOT_ACTIVE,
    )
}
