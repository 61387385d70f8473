# SPDX-License-Identifier: Apache-2.0
"""Others' drop-ins that take something from a unit: its GPU, its libraries, its share of the machine."""

import re

from chaosgpu.agent.residue.dropin_files import RUNTIME
from chaosgpu.agent.residue.dropin_files import dropins as drop_in_files
from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_PATTERNS = {
    "dropin.devices": re.compile(
        r"^(DevicePolicy|DeviceAllow|PrivateDevices|InaccessiblePaths)=\s*(?!auto\b|no\b)\S", re.MULTILINE
    ),
    "dropin.cuda_visible": re.compile(r"^(Unset)?Environment=.*(CUDA|NVIDIA)_VISIBLE_DEVICES", re.MULTILINE),
    "dropin.preload": re.compile(r"^Environment=.*LD_PRELOAD", re.MULTILINE),
    "dropin.limit": re.compile(
        r"^(CPUQuota|CPUQuotaPerSecSec|AllowedCPUs|MemoryMax|MemoryHigh|TasksMax|IO\w+BandwidthMax|IO\w+IOPSMax|IPAddressDeny)=\S",
        re.MULTILINE,
    ),
}
_KINDS = {
    "dropin.devices": "a drop-in takes devices from a unit",
    "dropin.cuda_visible": "a drop-in hides GPUs from a unit",
    "dropin.preload": "a drop-in preloads a library into a unit",
    "dropin.limit": "a drop-in limits a unit's processor, memory, disk or network",
}


@family("drop-ins", FOREIGN, _KINDS)
def dropins(scene: Scene, found: Found) -> None:
    """One below /run is gone at the next start, so it is nobody's configuration; one in /etc may be the site's own."""
    for path, text in drop_in_files(scene):
        if "chaosgpu" in path or "chaosgpu" in text:
            continue  # ours, told by another family
        runtime = path.startswith(RUNTIME)
        unit = path.split("/")[-2][: -len(".d")]
        if unit.startswith(("user@", "session-", "systemd-")) or unit in ("user.slice", "system.slice"):
            continue  # logind's and systemd's own
        by_hand = f"see who wrote it; rm {path}; systemctl daemon-reload; systemctl restart {unit}"
        for kind, pattern in _PATTERNS.items():
            match = pattern.search(text)
            if match and (runtime or kind != "dropin.limit"):
                what = f"{unit}: {match.group().strip()}"
                found.add(kind, what, path, by_hand, owner=None if runtime else UNKNOWN)
