# SPDX-License-Identifier: Apache-2.0
"""Whether this machine can have test hosts, and if not, what it lacks."""

import os
import shutil
import sys

from bench.groups import folders
from bench.plan import BenchFailed

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
        folders("chaosgpu-bench")
    except BenchFailed as error:
        return str(error)
    return None
