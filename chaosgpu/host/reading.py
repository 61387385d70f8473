# SPDX-License-Identifier: Apache-2.0
"""One reading of a unit from the agent."""

from chaosgpu.fleet.reading import Answer, taken
from chaosgpu.host.arguments import unit_name

__all__ = ["of_unit"]


def of_unit(unit: str, hosts: str, timeout_s: float) -> Answer:
    """Take the reading of one unit; BadArgument where its name is not whole."""
    name = unit_name(unit)
    return taken("unit.state", f"{name} on {hosts}", {"unit": name}, hosts, timeout_s)
