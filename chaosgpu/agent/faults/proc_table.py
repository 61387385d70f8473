# SPDX-License-Identifier: Apache-2.0
"""One look at /proc: who runs, whose child it is, in which unit; and a signal that cannot hit a reused pid."""

import hashlib
import os
import signal
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Set, Tuple

from chaosgpu.agent.process import Identity, environment_of

__all__ = ["Process", "look", "ours", "root", "send", "services", "tree"]

_OUR_TAG = "CHAOSGPU_LEASE"  # what every holder of ours carries in its environment
_CONTAINERS = ("docker-", "libpod-", "cri-containerd-", "crio-", "lxc-")


@dataclass(frozen=True)
class Process:
    """What /proc says of one process; `exe` is empty where we may not know it."""

    pid: int
    start_time: int
    state: str
    parent: int
    session: int
    user: int
    group_of_control: str

    @property
    def identity(self) -> Identity:
        """Return what tells it from a later one with the same pid."""
        return Identity(self.pid, self.start_time)

    @property
    def stopped(self) -> bool:
        """Tell whether SIGSTOP or a terminal holds it."""
        return self.state == "T"

    @property
    def unit(self) -> Optional[str]:
        """Return the systemd unit that it belongs to, None where it belongs to a login or to nothing."""
        last = self.group_of_control.rsplit("/", 1)[-1]
        return last if last.endswith(".service") and not last.startswith("user@") else None

    @property
    def service_group(self) -> Optional[str]:
        """Return its control group if that is one service or one container as a whole."""
        last = self.group_of_control.rsplit("/", 1)[-1]
        return self.group_of_control if self.unit or last.startswith(_CONTAINERS) else None

    @property
    def exe(self) -> str:
        """Return the program file; empty where it may not be read."""
        try:
            return os.readlink(f"/proc/{self.pid}/exe").replace(" (deleted)", "")  # noqa: PTH115 (a kernel link)
        except OSError:
            return ""

    @property
    def command_sha256(self) -> str:
        """Return the digest of its command line: enough to know it again, and no secret leaks from it."""
        return hashlib.sha256(_read(f"/proc/{self.pid}/cmdline")).hexdigest()


def look() -> Dict[int, Process]:
    """Return every process that runs; zombies have ended."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib costs 9 ms at start)
        process = _process(int(name)) if name.isdigit() else None
        if process is not None and process.state not in ("Z", "X"):
            found[process.pid] = process
    return found


def ours(table: Dict[int, Process]) -> Set[int]:
    """Return this process, all that it descends from (the controller, the shell), and every holder of a lease."""
    found, pid = set(), os.getpid()
    while pid > 0:
        found.add(pid)
        pid = table[pid].parent if pid in table else 0
    for pid in table:
        environment = environment_of(pid)
        if environment is not None and _OUR_TAG in environment:
            found.add(pid)
    return found


def services(pids: Iterable[int], table: Dict[int, Process], never: Set[int]) -> List[Process]:
    """Return the whole services that these processes are part of, parents before their children.

    From each one up through its parents as long as they share its session (never up to a process in `never`, nor to
    PID 1), then down again.
    """
    return tree({root(pid, table, never) for pid in pids}, table)


def tree(pids: Iterable[int], table: Dict[int, Process]) -> List[Process]:
    """Return these processes and everything they started, parents before their children.

    Also whatever shares a session that one of them leads (a worker whose parent has died), or the control group of
    their systemd service or container.
    """
    members = set(pids)
    grown = 0
    while grown != len(members):
        grown = len(members)
        groups = {table[pid].service_group for pid in members} - {None}
        for process in table.values():
            related = process.parent in members or process.session in members or process.service_group in groups
            if related and process.pid != 1:
                members.add(process.pid)
    return sorted((table[pid] for pid in members), key=lambda process: (_depth(process.pid, table), process.pid))


def send(who: Identity, number: signal.Signals) -> bool:
    """Signal exactly this process; False if it has ended, whoever has its pid now."""
    try:
        handle = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return False
    try:
        process = _process(who.pid)
        if process is None or process.start_time != who.start_time or process.state in ("Z", "X"):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def root(pid: int, table: Dict[int, Process], never: Set[int]) -> int:
    """Return the topmost parent in the same session, below PID 1 and whatever is in `never`."""
    while True:
        parent = table.get(table[pid].parent)
        if parent is None or parent.pid == 1 or parent.pid in never or parent.session != table[pid].session:
            return pid
        pid = parent.pid


def _depth(pid: int, table: Dict[int, Process]) -> int:
    depth = 0
    while pid in table and pid > 1:
        pid, depth = table[pid].parent, depth + 1
    return depth


def _process(pid: int) -> Optional[Process]:
    state_after_name = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(state_after_name) < 20:  # noqa: PLR2004 (start time is field 22, and two are before the name's end)
        return None
    state, parent, _, session = (field.decode() for field in state_after_name[:4])
    user = _owner(pid)
    if user is None:
        return None
    return Process(pid, int(state_after_name[19]), state, int(parent), int(session), user, _group_of_control(pid))


def _owner(pid: int) -> Optional[int]:
    try:
        return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 (pathlib costs 9 ms at start)
    except OSError:
        return None


def _group_of_control(pid: int) -> str:
    """Return the path in the unified hierarchy, else in systemd's own: both name the unit."""
    paths: Dict[str, str] = {}
    for line in _read(f"/proc/{pid}/cgroup").decode(errors="replace").splitlines():
        _, kind, path = [*line.split(":", 2), "", ""][:3]
        paths[kind] = path
    found: Tuple[str, ...] = (paths.get("", ""), paths.get("name=systemd", ""))
    return max(found, key=len)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            return file.read()
    except OSError:
        return b""
