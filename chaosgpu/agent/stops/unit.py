# SPDX-License-Identifier: Apache-2.0
"""A systemd unit that must run does not."""

from dataclasses import dataclass
from typing import Tuple

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.stops.contract import Condition, Look, Parameter, Unread
from chaosgpu.agent.systemd import BOOTED, PROGRAMS, find_systemd
from chaosgpu.agent.values import JsonMapping

__all__ = ["UNIT_NOT_ACTIVE", "Units"]

_ACTIVE = "ActiveState="


@dataclass(frozen=True)
class Units:
    """Where systemd is; a test names another place."""

    booted: str = BOOTED
    programs: Tuple[str, ...] = tuple(PROGRAMS)

    def look(self, params: JsonMapping, _: JsonMapping, __: Tools) -> Look:
        """Ask systemd; a unit that it does not know is not active."""
        unit = str(params["unit"])
        try:
            systemd = find_systemd(self.booted, self.programs)
            if systemd is None:
                raise Unread(f"there is no systemd here to ask for {unit}")
            said = systemd.ask("show", f"--property={_ACTIVE[:-1]}", "--", unit)
        except Refused as error:
            raise Unread(str(error)) from error
        states = [line[len(_ACTIVE) :] for line in said.splitlines() if line.startswith(_ACTIVE)]
        if len(states) != 1:
            raise Unread(f"systemd said of {unit}: {said.strip()[:200]!r}")
        return Look(states[0] != "active", f"the unit {unit} is {states[0]}")


UNIT_NOT_ACTIVE = Condition(
    "unit_not_active",
    "a systemd unit is not active",
    (Parameter("unit", "text", "its whole name, such as triton.service"),),
    Units().look,
)
