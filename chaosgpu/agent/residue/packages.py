# SPDX-License-Identifier: Apache-2.0
"""Packages that were left half-installed, and a driver that may not be loaded any more."""

import re

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "package.half_installed": "a package is half-installed, half-configured or only unpacked",
    "package.interrupted": "dpkg was interrupted",
    "driver.blacklisted": "NVIDIA's kernel module may not be loaded",
    "driver.nouveau": "nouveau is loaded instead of NVIDIA's kernel module",
}
_STATUS, _UPDATES = "/var/lib/dpkg/status", "/var/lib/dpkg/updates"
_HALF = re.compile(r"^Package: (\S+)\nStatus: \S+ \S+ (half-installed|half-configured|unpacked)$", re.MULTILINE)
_MODPROBE = ("/run/modprobe.d", "/etc/modprobe.d")
_BLACKLIST = re.compile(r"^\s*(blacklist\s+nvidia|install\s+nvidia\s+/(usr/)?bin/(false|true))\b.*$", re.MULTILINE)


@family("packages", FOREIGN, _KINDS)
def packages(scene: Scene, found: Found) -> None:
    """While a package manager runs, what is half-done is its work."""
    working = any(
        process.called("dpkg", "apt", "apt-get", "aptitude", "unattended-upgrade") for process in scene.others
    )
    for match in _HALF.finditer(scene.text(_STATUS) or "") if not working else ():
        by_hand = f"dpkg --configure {match[1]}, or apt-get install --reinstall {match[1]}"
        found.add("package.half_installed", f"{match[1]} is {match[2]}", match[1], by_hand, owner=UNKNOWN)
    if not working and [name for name in scene.names(_UPDATES) if name.isdigit()]:
        found.add("package.interrupted", f"{_UPDATES} is not empty", _UPDATES, "dpkg --configure -a", owner=UNKNOWN)
    for folder in _MODPROBE:
        for name in scene.names(folder):
            path = f"{folder}/{name}"
            line = _BLACKLIST.search(scene.text(path) or "") if name.endswith(".conf") else None
            if line:
                by_hand = f"take the line out of {path}; then modprobe nvidia"
                found.add("driver.blacklisted", f"{path}: {line.group().strip()}", path, by_hand, owner=UNKNOWN)
    if scene.status("/sys/module/nouveau") is not None:
        by_hand = "end what uses it, modprobe -r nouveau, modprobe nvidia"
        found.add("driver.nouveau", "nouveau is loaded", "/sys/module/nouveau", by_hand, owner=UNKNOWN)
