# SPDX-License-Identifier: Apache-2.0
"""A unit and what lies about it, seen behind the agent's back: from systemd, the kernel's files and the folders."""

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TRANSIENT = Path("/run/systemd/transient")
_CGROUPS = Path("/sys/fs/cgroup")
_PROPERTIES = (
    "ActiveState", "SubState", "Result", "FreezerState", "DevicePolicy", "DeviceAllow", "DropInPaths", "Environment",
    "NeedDaemonReload", "UnitFileState", "Job",
)  # fmt: skip
_FOLDERS = ("/run/systemd/system", "/etc/systemd/system", "/run/systemd/system.control", "/etc/systemd/system.control")
# What systemd gives each start anew.
_VOLATILE = ("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID")
_ASKING = ("systemctl", "systemd-run", "journalctl")
_WITHIN_S = 20.0
_OPENS_WITHIN_S = 2.0
_SETTLES_S = 0.05


def ask(*words: str) -> str:
    """Ask systemd, and return what it said."""
    done = subprocess.run(
        ["systemctl", "--no-pager", *words], capture_output=True, text=True, timeout=_WITHIN_S, check=False
    )
    return done.stdout


def look(unit: str, told: Path, *, exact: bool, opens: bool, gpu: bool) -> dict[str, Any]:
    """Return all of the unit that a fault could have changed."""
    names = (*_PROPERTIES, "MainPID", "ControlGroup")
    shown = dict(line.partition("=")[::2] for line in ask("show", f"--property={','.join(names)}", unit).splitlines())
    group, main = _CGROUPS / shown.pop("ControlGroup", "").lstrip("/"), shown.pop("MainPID", "0")
    there = group != _CGROUPS and group.exists()
    pids = text(group / "cgroup.procs").split() if there else []
    frozen = text(group / "cgroup.freeze").strip() if there else "gone"
    seen: dict[str, Any] = {
        **shown,
        "cgroup.freeze": frozen,
        "processes": len(pids),
        "environment": _environment(main),
        "command": text(Path(f"/proc/{main}/cmdline")),
        "preloaded": any("chaosgpu" in text(Path(f"/proc/{pid}/maps")) for pid in pids),
        "files": sorted(_files()),
        "told": text(told).strip(),
    }
    if exact:
        seen["main process"] = main
    if opens:
        seen["opens"] = _opens(group) if frozen == "0" else "not known"
    if gpu:
        seen["on the GPU"] = [(pid in pids, used) for pid, used in _on_gpu()]
    return seen


def files_in(folder: Path) -> dict[str, Any]:
    """Return every file of a folder, which it is, its times and its bytes; and what is aside at the top."""
    aside = [str(path) for path in Path("/").glob("chaosgpu-aside-*")]
    return {"aside": aside, **{f"file {path}": _file(path) for path in sorted(folder.rglob("*"))}}


def left_of_ours() -> Iterator[str]:
    """Name every unit of ours that systemd has, every transient file of one, and whoever still asks systemd."""
    for row in ask("list-units", "--all", "--plain", "--no-legend", "chaosgpu-*").splitlines():
        yield f"unit {' '.join(row.split()[:4])}"
    for path in sorted(TRANSIENT.glob("chaosgpu-*")):
        yield f"unit file {path}"
    for row in ask("list-jobs", "--plain", "--no-legend").splitlines():
        yield f"job {row.strip()}"
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and text(folder / "comm").strip() in _ASKING:
            yield f"process {folder.name}: {text(folder / 'cmdline')}".replace("\0", " ")


def settle(look_again: Callable[[], dict[str, Any]]) -> None:
    """Look until another look a moment later confirms it: a program is loaded, its first word told."""
    last: dict[str, Any] = {}
    while last != (last := look_again()):
        time.sleep(_SETTLES_S)


def _file(path: Path) -> list[Any]:
    try:
        found = path.stat()
        if path.is_dir():  # one that was removed and made again is another, and nobody can tell
            return [found.st_uid, found.st_gid]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:  # it was renamed between two looks
        return ["gone"]
    return [found.st_ino, found.st_mode, found.st_uid, found.st_mtime_ns, digest]


def _environment(pid: str) -> list[str]:
    words = text(Path(f"/proc/{pid}/environ")).split("\0")
    return sorted(word for word in words if word and word.partition("=")[0] not in _VOLATILE)


def _files() -> Iterator[str]:
    for folder in _FOLDERS:
        for where, folders, files in os.walk(folder):
            ours = (name for name in (*folders, *files) if "chaosgpu" in name or name == "struck.service.d")
            yield from (f"{where}/{name}" for name in ours)
    yield from (str(path) for path in Path("/run").glob("chaosgpu-*"))


def _opens(group: Path) -> bool:
    """Tell whether a process in the unit's group can open the GPU's node."""
    script = f"echo $$ > {group}/cgroup.procs && exec head -c1 /dev/nvidia0"
    try:
        done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=_OPENS_WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _on_gpu() -> Iterator[list[str]]:
    """Yield the pid and the memory of each process that the driver tells of."""
    words = ("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader")
    done = subprocess.run(words, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
    yield from (row.split(", ") for row in done.stdout.splitlines())


def text(path: Path) -> str:
    """Return what a file says; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
