# SPDX-License-Identifier: Apache-2.0
"""What could keep an undo from coming in time: how long it may take, room for records, sessions, the clock."""

import os
import re
from typing import Optional, Tuple

from chaosgpu.agent.host import Host

__all__ = ["deadlines", "records", "sessions"]

Verdict = Tuple[Optional[bool], str]

_LEAST_MIB = 64
_LOGIND = ("/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d", "/usr/lib/systemd/logind.conf.d")
_LOGIND_FILE = "/etc/systemd/logind.conf"
_KILLS = re.compile(r"^\s*KillUserProcesses\s*=\s*(\S+)", re.MULTILINE | re.IGNORECASE)


def deadlines(host: Host) -> Verdict:
    """Say which faults are put back within 5 s of their deadline, and which may take longer."""
    slow = sorted(fault.name for fault in host.registry().values() if fault.deadline_class != "fast")
    packages = [name for name in slow if name.startswith("package.")]
    services = [name for name in slow if name not in packages]
    late = "".join(
        f"; {', '.join(names)} may take longer, since {why}"
        for names, why in ((services, "a service has to start"), (packages, "the package manager has to put them back"))
        if names
    )
    return True, f"A fault is put back at most 5 s after its deadline{late}."


def records(path: str) -> Verdict:
    """Say whether there is room for the records of a few leases; they are laid out before anything is touched."""
    folder = path
    while not os.path.isdir(folder) and folder != "/":  # noqa: PTH112 (pathlib costs 9 ms at start)
        folder = os.path.dirname(folder)  # noqa: PTH120 (as above)
    found = os.statvfs(folder)
    mib, files = found.f_bavail * found.f_frsize >> 20, found.f_favail
    if found.f_flag & os.ST_RDONLY:
        return False, f"{folder} is on a read-only file system: no lease can be kept."
    if mib < _LEAST_MIB or (found.f_files and not files):
        return False, f"{folder} has {mib} MiB and {files} files left, and wants {_LEAST_MIB} MiB: no lease is safe."
    return True, f"{folder} has {mib} MiB left for the records of leases."


def sessions(*, own: bool) -> Verdict:
    """Say what becomes of a keeper when the session ends that started it."""
    kills = False
    for path in (_LOGIND_FILE, *_files()):
        match = _KILLS.search(_text(path))
        kills = kills if match is None else match.group(1).lower() in ("yes", "true", "1", "on")
    if not kills:
        return True, "What a session leaves running goes on when it ends (KillUserProcesses is not set)."
    if own:
        return True, "logind kills what a session leaves (KillUserProcesses=yes); keepers have units of their own."
    return False, (
        "logind kills what a session leaves (KillUserProcesses=yes), and a keeper with it: use root's agent, "
        "or `loginctl enable-linger` for this user and start from its own service."
    )


def _files() -> Tuple[str, ...]:
    found = {}
    for folder in reversed(_LOGIND):  # a file of the same name in an earlier folder replaces the later one's
        if os.path.isdir(folder):  # noqa: PTH112 (as above)
            found.update({name: f"{folder}/{name}" for name in os.listdir(folder)})  # noqa: PTH208 (as above)
    return tuple(path for name, path in sorted(found.items()) if name.endswith(".conf"))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (as above)
            return file.read()
    except OSError:
        return ""
