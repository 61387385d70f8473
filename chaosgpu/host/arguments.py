# SPDX-License-Identifier: Apache-2.0
"""Which unit is meant, checked before anything is asked of a host, and the order of a fault on it."""

import re

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.arguments import number
from chaosgpu.fleet.values import JsonObject, seconds

__all__ = ["back_within", "put_in", "unit_name"]

_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.service")


def unit_name(unit: object) -> str:
    """Check the whole name of a service; no pattern, since a pattern is a selector that may mean everything."""
    if not isinstance(unit, str) or not _NAME.fullmatch(unit) or unit.partition("@")[2].startswith("."):
        raise BadArgument(f"unit must be the whole name of a service, such as triton.service, not {unit!r}.")
    return unit


def back_within(value: object) -> float:
    """Check how long the unit may take to be there again."""
    return number("back_within_s", value, least=1, most=600)


def put_in(fault: str, params: JsonObject, duration_s: float, hosts: str, timeout_s: float) -> JsonObject:
    """Check the times that every action has, then order the fault."""
    lasts_s, within_s = seconds("duration_s", duration_s), seconds("timeout_s", timeout_s)
    from chaosgpu.lease.apply import apply_fault  # noqa: PLC0415 (validation imports every named module)

    return apply_fault(fault, params, duration_s=lasts_s, hosts=hosts, timeout_s=within_s)
