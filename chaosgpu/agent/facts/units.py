# SPDX-License-Identifier: Apache-2.0
"""The services that the driver stands on, and the timers that change packages, in one question to systemd."""

from typing import Dict, Optional

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.systemd import Systemd

__all__ = ["UNITS", "units"]

UNITS = {
    "fabric_manager": "nvidia-fabricmanager.service",
    "persistence_daemon": "nvidia-persistenced.service",
    "dcgm": "nvidia-dcgm.service",
    "upgrade_timer": "apt-daily-upgrade.timer",
}


def units(systemd: Optional[Systemd]) -> Answer:
    """Return the state of each that is installed; "absent" of one that systemd does not have."""
    answer = Answer()
    if systemd is None:
        answer.unknown.update(dict.fromkeys(UNITS, "systemd is not this host's PID 1"))
        return answer
    try:
        said = systemd.ask("show", "--property=Id,LoadState,ActiveState", *UNITS.values())
    except Refused as error:
        answer.unknown.update(dict.fromkeys(UNITS, str(error)))
        return answer
    found: Dict[str, Dict[str, str]] = {}
    for record in said.split("\n\n"):
        field = dict(line.split("=", 1) for line in record.splitlines() if "=" in line)
        found[field.get("Id", "")] = field
    for name, unit in UNITS.items():
        state = found.get(unit, {})
        if state.get("LoadState") in ("not-found", None):
            answer.note(name, "absent" if state else None, "systemd did not tell it")
        else:
            answer.values[name] = state.get("ActiveState", "unknown")
    return answer
