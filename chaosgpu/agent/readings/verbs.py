# SPDX-License-Identifier: Apache-2.0
"""The verbs that change nothing: read, facts, doctor."""

import contextlib
from dataclasses import replace

from chaosgpu.agent import values
from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.host import Host
from chaosgpu.agent.readings.catalogue import Tools, ask_object, take
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["PROTOCOL", "doctor", "facts", "read"]

PROTOCOL = 1
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read(request: JsonMapping, host: Host) -> JsonObject:
    """Take one reading: {"reading", "params"} -> {"values", "unknown"}."""
    name = values.text(request, "reading")
    with contextlib.closing(host.new_driver()) as driver:
        tools = _tools(host, driver)
        if name == "residue":
            from chaosgpu.agent.residue.of_host import scene_of  # noqa: PLC0415 (only this reading needs it)

            tools = replace(tools, scene=scene_of(host))
        answer = take(name, values.mapping(request, "params"), tools)
    return {
        "protocol": PROTOCOL,
        "reading": name,
        "host": host.name,
        "values": answer.values,
        "unknown": answer.unknown,
    }


def facts(request: JsonMapping, host: Host) -> JsonObject:  # noqa: ARG001 (the request holds no parameters)
    """Return what this host is: its boot, driver, NVIDIA library and GPUs."""
    from chaosgpu.agent.readings.gpus import list_gpus  # noqa: PLC0415 (only this verb needs it)

    with open(_BOOT_ID, encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
        boot_id = file.read().strip()
    with contextlib.closing(host.new_driver()) as driver:
        tools = _tools(host, driver)
        return {
            "protocol": PROTOCOL,
            "host": host.name,
            "boot_id": boot_id,
            "driver": ask_object(tools, "driver_versions"),
            "library": ask_object(tools, "library_in_use"),
            "gpus": list_gpus(tools),
        }


def doctor(request: JsonMapping, host: Host) -> JsonObject:
    """Return what this host can and cannot do."""
    from chaosgpu.agent.readings.doctor import doctor as examine  # noqa: PLC0415 (it loads every fault)

    return examine(request, host)


def _tools(host: Host, driver: Driver) -> Tools:
    """Return what readings use; CHAOSGPU_KERNEL_LOG names another log than the kernel's, as simulators write."""
    log = host.environment.get("CHAOSGPU_KERNEL_LOG", "/dev/kmsg")
    return Tools(driver, host.clock, kernel_log=log, find_systemd=host.find_systemd)
