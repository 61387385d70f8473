# SPDX-License-Identifier: Apache-2.0
"""The packages of a host, seen behind the agent's back: dpkg's and apt's own files, and every file of the driver's."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crash import unit_look

_DPKG = Path("/var/lib/dpkg")
_MARKS = Path("/var/lib/apt/extended_states")
_OF_DRIVER = "nvidia"
# Where the driver's packages, and what their scripts make, put files; and all that apt is told by.
_TREES = (
    "/etc/apt", "/etc/dpkg", "/etc/modprobe.d", "/etc/nvidia", "/lib/modules", "/usr/lib/nvidia", "/usr/share/nvidia",
    "/usr/src",
)  # fmt: skip
_TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
_AT_WORK = re.compile(r"apt|dpkg|dkms")
_SCRIPT = "/var/lib/dpkg/"


def look() -> dict[str, Any]:
    """Return all of the host's packages that a change could have changed."""
    marks = {row["Package"]: row.get("Auto-Installed", "") for row in _stanzas(_MARKS)}
    paths = {path for tree in _TREES for path in _files(Path(tree))} | {*_owned()}
    return {
        **{f"package {name}": told for name, told in packages().items()},
        "automatic": sorted(name for name, mark in marks.items() if mark == "1"),
        "half-done": sorted(path.name for path in (_DPKG / "updates").iterdir()),
        "lists": sorted(path.name for path in (_DPKG / "info").glob(f"*{_OF_DRIVER}*")),
        **{str(path): _state(path) for path in sorted(paths)},
        "timers": unit_look.ask("show", "--property=Id,ActiveState,UnitFileState", *_TIMERS),
    }


def packages() -> dict[str, str]:
    """Return version, hold and state of each, as dpkg's own record has them."""
    return {row["Package"]: f"{row.get('Version')} {row.get('Status')}" for row in _stanzas(_DPKG / "status")}


def at_work() -> Iterator[str]:
    """Name every process that changes packages: apt, dpkg, a script of a package."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            name, words = (unit_look.text(folder / part) for part in ("comm", "cmdline"))
            if _AT_WORK.match(name) or _SCRIPT in words:
                yield f"process {folder.name}: {words}".replace("\0", " ")


def kept(folder: Path) -> list[str]:
    """Name the package files that are still kept for a way there or back; the snapshot itself goes with the next."""
    return [str(folder / side) for side in ("before", "after", "dkms", "tmp") if (folder / side).exists()]


def _stanzas(path: Path) -> Iterator[dict[str, str]]:
    for stanza in unit_look.text(path).split("\n\n"):
        rows = (line.partition(": ") for line in stanza.splitlines() if line[:1].strip())
        if found := {key: value for key, _, value in rows}:
            yield found


def _files(tree: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(tree):
        yield from (Path(where, name) for name in (*folders, *files))


def _owned() -> Iterator[Path]:
    """Yield what the driver's packages own."""
    for listed in (_DPKG / "info").glob(f"*{_OF_DRIVER}*.list"):
        yield from (path for line in unit_look.text(listed).splitlines() if (path := Path(line)).is_file())


def _state(path: Path) -> str:
    about = path.lstat()
    rest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return f"{about.st_mode:o} {about.st_uid}:{about.st_gid} {rest}"
