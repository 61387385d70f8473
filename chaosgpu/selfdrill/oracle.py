# SPDX-License-Identifier: Apache-2.0
"""What is left on the host, seen without the agent's own code: processes, claims, locks, records."""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SLOT_BYTES = 16384
_EXITING, _GONE_WITHIN_S = 0x4, 1.0  # the kernel's PF_EXITING
HARMLESS_FILES = frozenset(
    {"lock", "apply.lock", "keeper.lock", "keeper.log", "holder.log", "holder.json", "filled", "emptied"}
)


class Processes:
    """Who carries a mark in the environment. Most of a machine's processes never will: they are asked once a look."""

    def __init__(self, mark: str) -> None:
        self._wanted = mark.encode()
        self._foreign: set[str] = set()

    def all(self) -> dict[int, list[str]]:
        """Return the command line of each, by pid; every process of the machine is asked."""
        self._foreign = {str(os.getpid())}
        return self.soon(note=True)

    def soon(self, *, note: bool = False) -> dict[int, list[str]]:
        """Return the same without those that were somebody else's at the last full look."""
        found = {}
        for pid in os.listdir("/proc"):  # noqa: PTH208 (asked often)
            if not pid.isdigit() or pid in self._foreign:
                continue
            raw = _read(f"/proc/{pid}/environ")
            if not raw:
                _await_end(pid)
            if raw is not None and self._wanted in raw.split(b"\0"):
                found[int(pid)] = (_read(f"/proc/{pid}/cmdline") or b"").decode(errors="replace").split("\0")
            elif note:
                self._foreign.add(pid)
        return found


def mark_of(home: Path) -> str:
    """Return what everybody carries who works under a home of its own."""
    return f"CHAOSGPU_AGENT_HOME={home}"


def processes(mark: str) -> dict[int, list[str]]:
    """Return the command line of every process that carries the mark in its environment, by pid."""
    return Processes(mark).all()


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (asked often)
            return file.read()
    except OSError:
        return None


def _await_end(pid: str) -> None:
    """Wait until one that is ending has ended: its memory, and so its home, goes before its locks do."""
    end_s = time.monotonic() + _GONE_WITHIN_S
    while time.monotonic() < end_s:
        words = (_read(f"/proc/{pid}/stat") or b"").rpartition(b")")[2].split()
        if len(words) < 7 or words[0] in (b"Z", b"X") or not int(words[6]) & _EXITING:  # noqa: PLR2004 (state, …, flags)
            return
        time.sleep(0.001)


def parent_of(pid: int) -> int | None:
    """Return who started a process; None where it is gone."""
    words = (_read(f"/proc/{pid}/stat") or b"").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 else None


def verb_of(words: Iterable[str]) -> str:
    """Return the verb of one of our processes, empty where it is none."""
    after = [word for word in words if word]
    place = next((index for index, word in enumerate(after) if word.endswith("selfdrill/entry.py")), None)
    return after[place + 1] if place is not None and place + 1 < len(after) else ""


def record(folder: Path) -> Any:
    """Return the newest state in a lease's two slots; None where the lease never came to be."""
    try:
        raw = (folder / "state").read_bytes()
    except FileNotFoundError:
        return None
    newest: tuple[int, Any] = (0, {"state": "unreadable"})
    for slot in (raw[:SLOT_BYTES], raw[SLOT_BYTES:]):
        head, _, rest = slot.partition(b"\n")
        words = head.split(b" ")
        if len(words) == 5 and words[2].isdigit() and words[3].isdigit() and int(words[2]) > newest[0]:  # noqa: PLR2004 (the words of a slot's head)
            try:
                newest = (int(words[2]), json.loads(rest[: int(words[3])]))
            except ValueError:
                continue  # torn: the other slot counts
    return newest[1]


def is_locked(path: Path) -> bool:
    """Tell whether some process holds a lock on the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def residue(beside: Path, home: Path, alive: Mapping[int, list[str]]) -> list[str]:
    """Name what is left but the fault itself, its claims `beside`; records of leases that ended well are to stay."""
    left = [f"claim {path.name}" for path in sorted(beside.glob("chaosgpu-claim-*"))]
    left += [f"process {pid}: {' '.join(words)}" for pid, words in alive.items()]
    left += [f"lock {path}" for path in _locks(beside, home) if is_locked(path)]
    for folder in _leases(home):
        state = record(folder)
        if state is not None and state["state"] not in ("clean", "tombstone"):
            left.append(f"lease {folder.name} is {state['state']}: {state.get('reason')}")
    return left


def litter(home: Path) -> list[str]:
    """Name files that nobody will look at again: halves that a killed process was writing."""
    known = HARMLESS_FILES | {"state", "undo"}
    names = [path.name for folder in _leases(home) for path in folder.iterdir()]
    return [name for name in names if name not in known and not name.startswith("unit-")]


def _leases(home: Path) -> list[Path]:
    folder = home / "leases"
    return sorted(folder.iterdir()) if folder.exists() else []


def _locks(beside: Path, home: Path) -> list[Path]:
    return [*beside.glob("*.lock"), *(path for folder in _leases(home) for path in folder.glob("*lock"))]
