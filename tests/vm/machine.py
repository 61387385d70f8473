# SPDX-License-Identifier: Apache-2.0
"""Whether this machine can have virtual machines, and if not, what it lacks."""

import os
import shutil

from bench import machine

__all__ = ["why_not"]

# Each program with the Debian package that has it.
_PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "mkfs.ext4": "e2fsprogs", "dpkg-deb": "dpkg", "cp": "coreutils"}


def why_not() -> str | None:
    """Return in one sentence why no virtual machine can be made here; None where they can."""
    lacking = machine.why_not()  # their Debian is the test hosts'
    if lacking is not None:
        return lacking
    if os.uname().machine != "x86_64":
        return f"Virtual machines need x86_64, and this machine is {os.uname().machine}."
    missing = sorted({package for program, package in _PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        return f"Virtual machines need more programs: apt-get install --no-install-recommends {' '.join(missing)}"
    return None
