# SPDX-License-Identifier: Apache-2.0
"""When a fault is asked for: check its stop conditions, note what they begin with, refuse where one cannot be read."""

from typing import List, Mapping

from chaosgpu.agent.errors import FAULT_BROKE, AgentError, BadRequest, Refused
from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.host import Host
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["KERNEL_LOG", "begin", "kernel_log"]

KERNEL_LOG = "/dev/kmsg"


def begin(host: Host, asked: JsonObject, driver: Driver) -> JsonObject:
    """Return what the undo record keeps: the checked tree and what each condition began with; {} where none is asked.

    Raises BadRequest for a tree that is wrong, and Refused where it is met already or a part of it cannot be read.
    """
    if not asked:
        return {}
    from chaosgpu.agent.readings.catalogue import Tools  # noqa: PLC0415 (only leases with stop conditions need them)
    from chaosgpu.agent.stops.judge import judge, look_at  # noqa: PLC0415 (as above)
    from chaosgpu.agent.stops.registry import CONDITIONS  # noqa: PLC0415 (as above)
    from chaosgpu.agent.stops.tree import checked, leaves  # noqa: PLC0415 (as above)

    tree = checked(asked)
    tools = Tools(driver, host.clock, kernel_log=kernel_log(host.environment))
    begun: List[JsonValue] = []
    for name, params in leaves(tree):
        condition = CONDITIONS[name]
        try:
            since = condition.begin(params, tools)
        except BadRequest:
            raise
        except (AgentError, *FAULT_BROKE) as error:
            raise Refused(_unread(f"{name} cannot be read: {error}")) from error
        look = look_at(condition, params, since, tools)
        if look.met is None:
            raise Refused(_unread(look.reading))
        begun.append(since)
    look = judge(tree, iter(begun), tools)
    if look.met is not False:
        raise Refused(f"The stop condition is met before anything was touched: {look.reading}.")
    return {"when": tree, "begun": begun}


def kernel_log(environment: Mapping[str, str]) -> str:
    """Return the kernel's log, or the file that stands for it with simulated GPUs."""
    return environment.get("CHAOSGPU_KERNEL_LOG", KERNEL_LOG)


def _unread(why: str) -> str:
    return f"A stop condition cannot be read, so the fault is not put in: {why.rstrip('.')}."
