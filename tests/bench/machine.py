# SPDX-License-Identifier: Apache-2.0
"""Whether this machine can have test hosts, and if not, what it lacks."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import nspawn
from bench.groups import folders
from bench.plan import BENCHES, BenchFailed
from bench.sources import debian_mirror

__all__ = ["why_not"]

# Each program with the Debian package that has it.
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "chroot": "coreutils",
    "mount": "mount",
    "ldconfig": "libc-bin",
}


def why_not() -> str | None:
    """Return in one sentence why the hosts cannot run here; None where they can."""
    if sys.platform != "linux":
        return "Test hosts need Linux."
    if os.geteuid() != 0:
        return "Test hosts need root: they have their own network, file systems and cgroups."
    missing = sorted({package for program, package in _PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        return f"Test hosts need more programs: apt-get install {' '.join(missing)}"
    try:
        group = folders("chaosgpu-bench")[0].parent
        if not os.access(group, os.W_OK):
            return f"Test hosts need to make cgroups, and {group} cannot be written: this container is not privileged."
        debian_mirror()
        _try_overlay()
    except BenchFailed as error:
        return str(error)
    return None


def _try_overlay() -> None:
    """Mount an overlay where the hosts' would be; BenchFailed where that cannot be done."""
    BENCHES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=BENCHES) as probe:
        lower = Path(probe) / "lower"
        lower.mkdir()
        root = nspawn.mount((str(lower),), Path(probe))
        subprocess.run(["umount", str(root)], check=True, timeout=20)
