# SPDX-License-Identifier: Apache-2.0
"""A host's file system and the command that starts it."""

import subprocess
from pathlib import Path

from bench.network import BRIDGE
from bench.plan import BenchFailed, BenchPlan, HostPlan

__all__ = ["ENVIRONMENT", "REBOOT", "command", "group", "mount"]

# Without this variable and the bpf call below, DevicePolicy= succeeds and denies nothing, and freezing is refused.
ENVIRONMENT = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
# How nspawn says that the host asked for a reboot.
REBOOT = 133


def mount(layers: tuple[str, ...], folder: Path) -> Path:
    """Mount `folder/root` over the layers, the uppermost first; what is written goes to `folder/upper`."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={':'.join(layers)},upperdir={folder}/upper,workdir={folder}/work"
    done = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(folder / "root")],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchFailed(
            f"The overlay on {folder} cannot be mounted: {done.stderr.strip()}. Where the repository is itself on an "
            "overlay (in a container), put it on a volume."
        )
    return folder / "root"


def group(plan: BenchPlan, host: HostPlan) -> str:
    """Name the host's cgroup."""
    return f"{plan.identity}/{host.name}"


def command(plan: BenchPlan, host: HostPlan) -> list[str]:
    """Return what boots the host, to be run in the bench's network and the host's cgroup."""
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={host.root}",
        f"--machine={host.machine}",
        f"--hostname={host.name}",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        f"--network-bridge={BRIDGE}",
        "--system-call-filter=bpf",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        *(f"--bind-ro={path}" for path in plan.binds),
    ]
