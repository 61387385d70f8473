# SPDX-License-Identifier: Apache-2.0
"""The sweep, the boot unit and cron's file: half there, turned off, or starting an agent that is not there."""

import re
from typing import List

from chaosgpu.agent.install import CRON, UNITS
from chaosgpu.agent.residue.finding import OURS, Found, family
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.residue.systemd import shown
from chaosgpu.agent.units import CRON_FILE, RECOVER, SWEEP

_KINDS = {
    "install.half": "some of our three units are there, and not all",
    "install.sweep_stopped": "the sweep's timer is there and does not run",
    "install.recover_disabled": "the boot unit is there and is not enabled",
    "install.masked": "one of our units is masked",
    "install.agent_missing": "a unit of ours starts a program that is not there",
    "install.agents_differ": "our units start different agents",
    "install.cron_agent_missing": "cron's file of ours starts a program that is not there",
}
_SERVICE = "chaosgpu-sweep.service"
_HOW = "as root: the agent's install-units"
_EXEC = re.compile(r"^ExecStart=(.*)$", re.MULTILINE)
_CRON_LINE = re.compile(r"^\* \* \* \* \* root (.*)$", re.MULTILINE)


@family("our install", OURS, _KINDS)
def our_install(scene: Scene, found: Found) -> None:
    """Compare what is there with what belongs together; nothing installed is a matter for doctor, and no residue."""
    if scene.home.limited:
        return
    _cron(scene, found)
    if not scene.has_systemd:
        return
    texts = {name: scene.text(f"{UNITS}/{name}") for name in (RECOVER, SWEEP, _SERVICE)}
    there = {name: text for name, text in texts.items() if text is not None}
    if not there:
        return
    missing = [name for name in texts if name not in there]
    if missing:
        found.add("install.half", f"{', '.join(missing)} is missing beside {', '.join(there)}", UNITS, _HOW)
    starts = {name: match.group(1) for name, text in there.items() for match in _EXEC.finditer(text)}
    for name, line in starts.items():
        _program(name, line, "install.agent_missing", scene, found)
    if len(set(starts.values())) > 1:
        found.add("install.agents_differ", f"{' and '.join(starts)} start different agents", UNITS, _HOW)
    _states([name for name in (RECOVER, SWEEP) if name in there], scene, found)


def _states(names: List[str], scene: Scene, found: Found) -> None:
    for name, unit in shown(scene, *names).items():
        path = f"{UNITS}/{name}"
        if unit.get("LoadState") == "masked" or unit.get("UnitFileState", "").startswith("masked"):
            found.add("install.masked", f"{name} is masked", path, f"systemctl unmask --runtime {name}; {_HOW}")
        elif name == SWEEP and unit.get("ActiveState") != "active":
            found.add("install.sweep_stopped", f"{SWEEP} does not run", path, f"systemctl enable --now {SWEEP}")
        elif name == RECOVER and not unit.get("UnitFileState", "").startswith("enabled"):
            found.add("install.recover_disabled", f"{RECOVER} is not enabled", path, f"systemctl enable {RECOVER}")


def _cron(scene: Scene, found: Found) -> None:
    path = f"{CRON}/{CRON_FILE}"
    for match in _CRON_LINE.finditer(scene.text(path) or ""):
        _program(path, match.group(1), "install.cron_agent_missing", scene, found)


def _program(where: str, line: str, kind: str, scene: Scene, found: Found) -> None:
    """Look whether each absolute path of the command is there."""
    for word in line.replace('"', " ").replace("'", " ").split():
        if word.startswith("/") and scene.status(word) is None:
            found.add(kind, f"{where} starts {word}, which is not there", where, _HOW)
