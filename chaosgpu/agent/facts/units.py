# SPDX-License-Identifier: Apache-2.0
"""The services that the driver stands on, and the timers that change packages, in one question to systemd."""

import os
from typing import Callable, Dict, Optional, Sequence

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.facts.asking import OnlyAsked
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.systemd import BOOTED, PROGRAMS, Systemd, find_systemd

__all__ = ["UNITS", "only_to_ask", "units"]

# Of several there is one on a host, by its kind; dnf's timers that only tell or fetch move nothing.
UNITS = {
    "fabric_manager": ("nvidia-fabricmanager.service",),
    "persistence_daemon": ("nvidia-persistenced.service",),
    "dcgm": ("nvidia-dcgm.service",),
    "upgrade_timer": (
        "apt-daily-upgrade.timer", "dnf-automatic.timer", "dnf-automatic-install.timer", "dnf5-automatic.timer",
        "dnf5-automatic-install.timer",
    ),
}  # fmt: skip


def only_to_ask(
    find: Callable[[], Optional[Systemd]], booted: str = BOOTED, programs: Sequence[str] = PROGRAMS
) -> Optional[Systemd]:
    """Return systemd as it is found, without the question for its version, which nothing here hangs on."""
    if find is not find_systemd:
        return find()
    there = (f"{folder}/systemctl" for folder in programs)
    systemctl = next((path for path in there if os.access(path, os.X_OK)), None)
    # Without a version nothing is ever started through it.
    return OnlyAsked(systemctl, "", 0) if systemctl is not None and os.path.isdir(booted) else None  # noqa: PTH112 (pathlib costs 9 ms at start)


def units(systemd: Optional[Systemd]) -> Answer:
    """Return the state of each that is installed; "absent" of one that systemd does not have."""
    answer = Answer()
    if systemd is None:
        answer.unknown.update(dict.fromkeys(UNITS, "systemd is not this host's PID 1"))
        return answer
    try:
        every = [unit for several in UNITS.values() for unit in several]
        said = systemd.ask("show", "--property=Id,LoadState,ActiveState", *every)
    except Refused as error:
        answer.unknown.update(dict.fromkeys(UNITS, str(error)))
        return answer
    found: Dict[str, Dict[str, str]] = {}
    for record in said.split("\n\n"):
        field = dict(line.split("=", 1) for line in record.splitlines() if "=" in line)
        found[field.get("Id", "")] = field
    for name, several in UNITS.items():
        told = [found[unit] for unit in several if unit in found]
        states = [one.get("ActiveState", "unknown") for one in told if one.get("LoadState") not in ("not-found", None)]
        if states:
            answer.values[name] = "active" if "active" in states else states[0]
        else:
            answer.note(name, "absent" if told else None, "systemd did not tell it")
    return answer
