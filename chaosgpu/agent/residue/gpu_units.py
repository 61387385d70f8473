# SPDX-License-Identifier: Apache-2.0
"""The services of the GPU stack: masked, failed, or enabled and stopped."""

from typing import Tuple

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.residue.systemd import shown, stopped_though_enabled
from chaosgpu.agent.units import BEFORE

_KINDS = {
    "unit.masked_until_reboot": "a service of the GPU stack is masked below /run",
    "unit.masked": "a service of the GPU stack is masked",
    "unit.gpu_failed": "a service of the GPU stack has failed",
    "unit.driver_stopped": "a driver's service is enabled and does not run",
}
_DRIVER = ("nvidia-persistenced.service", "nvidia-fabricmanager.service")
_STACK = (*_DRIVER, *BEFORE)
_FOLDERS = (("/run/systemd/system", "unit.masked_until_reboot"), ("/etc/systemd/system", "unit.masked"))


@family("gpu units", FOREIGN, _KINDS)
def gpu_units(scene: Scene, found: Found) -> None:
    """Look for masks and failures; a mask below /run is nobody's configuration, the rest may have any cause."""
    if not scene.has_systemd:
        return
    for folder, kind in _FOLDERS:
        for unit in _STACK:
            path = f"{folder}/{unit}"
            if scene.points_to(path) == "/dev/null" and not scene.leases.hold("unit", unit):
                runtime = "--runtime " if folder.startswith("/run") else ""
                owner = None if runtime else UNKNOWN
                found.add(kind, f"{unit} is masked", path, f"systemctl unmask {runtime}{unit}", owner=owner)
    for name, properties in shown(scene, *_there(scene)).items():
        if scene.leases.hold("unit", name):
            continue
        if properties.get("ActiveState") == "failed":
            by_hand = f"journalctl -u {name}; systemctl restart {name}"
            found.add("unit.gpu_failed", f"{name} has failed", name, by_hand, owner=UNKNOWN)
        elif name in _DRIVER and stopped_though_enabled(properties):
            by_hand = f"systemctl start {name}"
            found.add("unit.driver_stopped", f"{name} is enabled and stopped", name, by_hand, owner=UNKNOWN)


def _there(scene: Scene) -> Tuple[str, ...]:
    """Return those that this host has, so that systemd is not asked for twenty that it does not know."""
    folders = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
    names = {name for folder in folders for name in scene.names(folder)}
    return tuple(unit for unit in _STACK if unit in names)
