# SPDX-License-Identifier: Apache-2.0
"""The verbs that change nothing: read, facts, doctor."""

import os
import socket

from chaosgpu.agent import values
from chaosgpu.agent.readings.catalogue import Tools, ask_object, take
from chaosgpu.agent.readings.doctor import doctor
from chaosgpu.agent.readings.gpus import list_gpus
from chaosgpu.agent.readings.host import Host
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["PROTOCOL", "doctor", "facts", "read", "tools_of"]

PROTOCOL = 1
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def tools_of(host: Host) -> Tools:
    """Return what readings use here; CHAOSGPU_KERNEL_LOG names another log than the kernel's, as simulators write."""
    return Tools(driver=host.driver, clock=host.clock, kernel_log=os.environ.get("CHAOSGPU_KERNEL_LOG", "/dev/kmsg"))


def read(request: JsonMapping, host: Host) -> JsonObject:
    """Take one reading: {"reading", "params"} -> {"values", "unknown"}."""
    name = values.text(request, "reading")
    answer = take(name, values.mapping(request, "params"), tools_of(host))
    return {
        "protocol": PROTOCOL,
        "reading": name,
        "host": socket.gethostname(),
        "values": answer.values,
        "unknown": answer.unknown,
    }


def facts(request: JsonMapping, host: Host) -> JsonObject:  # noqa: ARG001 (the request holds no parameters)
    """Return what this host is: its boot, driver, NVIDIA library and GPUs."""
    tools = tools_of(host)
    with open(_BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
        boot_id = file.read().strip()
    return {
        "protocol": PROTOCOL,
        "host": socket.gethostname(),
        "boot_id": boot_id,
        "driver": ask_object(tools, "driver_versions"),
        "library": ask_object(tools, "library_in_use"),
        "gpus": list_gpus(tools),
    }
