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

__all__ = ["refuse_so_many", "why_not"]

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


_WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
_WATCHES_A_HOST = 10  # systemd, its bus and its login manager, as counted
_WATCHES_OF_OTHERS = 20


def refuse_so_many(count: int) -> None:
    """Raise BenchFailed where the kernel would let some of so many hosts not boot."""
    needed, there = _WATCHES_A_HOST * count + _WATCHES_OF_OTHERS, int(_WATCHES.read_text())
    if there < needed:
        raise BenchFailed(
            f"{count} hosts watch files some {needed} times, and the kernel lets root do that {there} times: "
            f"sysctl -w fs.inotify.max_user_instances={2 * needed}, and set it back afterwards."
        )


def _try_overlay() -> None:
    """Mount an overlay where the hosts' would be; BenchFailed where that cannot be done."""
    BENCHES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=BENCHES) as probe:
        lower = Path(probe) / "lower"
        lower.mkdir()
        root = nspawn.mount((str(lower),), Path(probe))
        subprocess.run(["umount", str(root)], check=True, timeout=20)
