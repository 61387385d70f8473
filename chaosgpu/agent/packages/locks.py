# SPDX-License-Identifier: Apache-2.0
"""dpkg's and rpm's locks: waited for with a deadline, and never removed: whoever holds one is at work.

A script of a package goes on when its dpkg is killed, and holds no lock: a module that DKMS is just compiling would be
installed some minutes later, over what the way back has brought. So scripts are waited for, too.
"""

import fcntl
import os
import re
import struct
from pathlib import Path
from typing import List, Optional, Tuple

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.tools import Tools

__all__ = ["holder", "script", "wait_free"]

_NAMES = ("lock-frontend", "lock")
_FLOCK = "hhlll"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_STEP_S = 0.1
_SHELLS = frozenset({b"sh", b"dash", b"bash", b"perl", b"python3"})
_DKMS = (b"/usr/sbin/dkms", b"/usr/lib/dkms/common.postinst")
_SCRIPT = re.compile(
    rb"/var/lib/dpkg/(?:info/[^/]+\.|tmp\.ci/)(?:preinst|postinst|prerm|postrm|config)|/var/tmp/rpm-tmp\.\w+"
)


def holder(tools: Tools) -> Optional[int]:
    """Return the process that holds one of the locks, None where both are free; 0 where it cannot be told."""
    for path in _paths(tools):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError:
            return 0
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        finally:
            os.close(descriptor)
        if kind != fcntl.F_UNLCK:
            return int(pid)
    return None


def _paths(tools: Tools) -> List[Path]:
    if tools.rpm:
        return [Path(tools.run(("rpm", "--eval", "%{_dbpath}"), 10.0).out.strip()) / ".rpm.lock"]
    return [tools.admin / name for name in _NAMES]


def wait_free(tools: Tools, within_s: float) -> None:
    """Wait until both are free and no script runs; Unanswered, with who it is, where they are not in time."""
    end_s = tools.now_s() + within_s
    while True:
        pid = holder(tools)
        running = script(tools) if pid is None else None
        if pid is None and running is None:
            return
        if tools.now_s() >= end_s:
            locked = f"{tools.manager} is locked by process {pid}"
            who = locked if running is None else f"Process {running} runs a package's script"
            raise Unanswered(
                f"{who} since more than {within_s:.0f} s. It is not ended and no lock is removed: see "
                f"`ps -p {pid or running}`, wait for it, then ask again."
            )
        tools.sleep(_STEP_S)


def script(tools: Tools) -> Optional[int]:
    """Return a process of this host, not of a container on it, that runs a package's script or DKMS."""
    if tools.root != "/":
        return None
    ours = _root_of("self")
    numbers = (name for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 (as in /proc)
    return next((int(name) for name in numbers if _runs_script(name) and _root_of(name) == ours), None)


def _runs_script(name: str) -> bool:
    try:
        with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123 (as above)
            words = file.read().split(b"\0")
    except OSError:
        return False
    shell = words[0].rpartition(b"/")[2] in _SHELLS
    return shell and any(word in _DKMS or _SCRIPT.fullmatch(word) is not None for word in words[1:4])


def _root_of(name: str) -> Tuple[int, int]:
    """Return which folder is the root of a process, by dpkg's or rpm's own folder in it."""
    for kept in ("dpkg", "rpm"):
        try:
            about = os.stat(f"/proc/{name}/root/var/lib/{kept}")  # noqa: PTH116 (as above)
        except OSError:
            continue
        return (about.st_dev, about.st_ino)
    return (0, 0)
