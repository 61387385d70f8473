# SPDX-License-Identifier: Apache-2.0
"""Files that nobody can change (chattr +i), where a service or an undo would have to."""

import array
import fcntl
import os

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {"file.immutable": "a file or folder that services write is immutable"}
_PATHS = (
    "/etc/hosts", "/etc/resolv.conf", "/etc/fstab", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/chaosgpu",
    "/etc/docker", "/etc/docker/daemon.json", "/etc/systemd/system", "/etc/cron.d", "/var/lib/chaosgpu",
    "/var/lib/chaosgpu/leases", "/var/lib/dpkg", "/var/lib/dpkg/status", "/var/lib/docker", "/var/log",
    "/opt/tritonserver", "/models",
)  # fmt: skip
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS on 64 bit (linux/fs.h)
_IMMUTABLE, _APPEND = 0x10, 0x20


@family("immutable files", FOREIGN, _KINDS)
def immutable(scene: Scene, found: Found) -> None:
    """Ask the file system for the flags of a few files; some hosts hold a file fast on purpose."""
    for path in _PATHS:
        try:
            descriptor = os.open(scene.root + path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # not there, a link, or not for us to open
        flags = array.array("l", [0])
        try:
            fcntl.ioctl(descriptor, _GET_FLAGS, flags, True)  # noqa: FBT003 (mutate_flag, by position only)
        except OSError:
            continue  # this file system has no such flags
        finally:
            os.close(descriptor)
        if flags[0] & (_IMMUTABLE | _APPEND):
            found.add("file.immutable", f"{path} cannot be changed", path, f"chattr -i -a {path}", owner=UNKNOWN)
