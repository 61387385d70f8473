# SPDX-License-Identifier: Apache-2.0
"""Processes by pid and start time (a pid alone may be somebody else's by now), and how to start and end them."""

import fcntl
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Mapping, NoReturn, Optional, Sequence, Tuple

from chaosgpu.agent.errors import Short, as_agent_error

__all__ = [
    "Identity",
    "alive",
    "closing_all",
    "end_group",
    "environment_of",
    "fork_served",
    "identity",
    "process_tree",
    "spawn_detached",
    "start_time",
    "started_under",
    "tagged",
]

_PARENT, _GROUP, _THREADS, _START = 1, 2, 17, 19  # positions after the state letter, which is field 3 of /proc/PID/stat
_TERM_GRACE_S = 0.5
_KILL_GRACE_S = 2.0


@dataclass(frozen=True)
class Identity:
    """One process and no other: its pid and field 22 of /proc/PID/stat."""

    pid: int
    start_time: int


def _read(pid: int, name: str) -> Optional[bytes]:
    """Return a file of a process; None where there is none or it is not shown, and not where we lack a descriptor."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            return file.read()
    except OSError as error:
        told = as_agent_error(error, f"Looking at process {pid}")
        if isinstance(told, Short):
            raise told from error
        return None


def _stat(pid: int) -> Optional[Tuple[str, List[int]]]:
    raw = _read(pid, "stat")
    if not raw:
        return None
    fields = raw.rsplit(b")", 1)[1].split()
    return fields[0].decode(), [int(field) for field in fields[1 : _START + 1]]


def start_time(pid: int) -> Optional[int]:
    """Return when the process started, in clock ticks since boot; None where there is none or it is not shown."""
    stat = _stat(pid)
    return None if stat is None else stat[1][_START - 1]


def identity(pid: int) -> Optional[Identity]:
    """Return pid and start time of a process that runs, else None."""
    ticks = start_time(pid)
    return None if ticks is None else Identity(pid, ticks)


def alive(who: Identity) -> bool:
    """Tell whether exactly this process still runs; a zombie has ended, whoever forgot to collect it."""
    stat = _stat(who.pid)
    return stat is not None and _runs(stat) and stat[1][_START - 1] == who.start_time


def _runs(stat: Tuple[str, List[int]]) -> bool:
    """Tell whether it has not ended: a zombie with threads left still has its files, its locks and its GPU memory."""
    return stat[0] not in ("Z", "X") or stat[1][_THREADS - 1] > 1


def _pids() -> List[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (pathlib costs 9 ms)
    except OSError as error:
        raise as_agent_error(error, "Looking for processes") from error


def process_tree(pid: int) -> List[Identity]:
    """Return the process and everything it started that still runs, parents first."""
    children: Dict[int, List[int]] = {}
    starts: Dict[int, int] = {}
    for number in _pids():
        stat = _stat(number)
        if stat is not None and _runs(stat):
            children.setdefault(stat[1][_PARENT - 1], []).append(number)
            starts[number] = stat[1][_START - 1]
    found: List[Identity] = []
    waiting = [pid]
    while waiting:
        current = waiting.pop(0)
        if current in starts:
            found.append(Identity(current, starts[current]))
        waiting.extend(children.get(current, []))
    return found


def environment_of(pid: int) -> Optional[Dict[str, str]]:
    """Return the environment that the process was started with; None where it cannot be read."""
    raw = _read(pid, "environ")
    if raw is None:
        return None
    pairs = (entry.split(b"=", 1) for entry in raw.split(b"\0") if b"=" in entry)
    return {os.fsdecode(key): os.fsdecode(value) for key, value in pairs}


def started_under(pid: int, home: str) -> bool:
    """Tell whether the process was started with this CHAOSGPU_AGENT_HOME: the only ones a lab's agent may touch."""
    environment = environment_of(pid)
    return environment is not None and environment.get("CHAOSGPU_AGENT_HOME") == home


def tagged(key: str, value: str) -> List[Identity]:
    """Return every running process whose environment carries our owner tag."""
    wanted = os.fsencode(f"{key}={value}")
    found = []
    for pid in _pids():
        if wanted not in (_read(pid, "environ") or b"").split(b"\0"):
            continue
        who = identity(pid)
        if who is not None and alive(who):
            found.append(who)
    return found


def end_group(who: Identity, sleep: Callable[[float], None]) -> bool:
    """End the process and its whole group: SIGTERM, then SIGKILL. False if it is still there at the end."""
    for number, grace_s in ((signal.SIGTERM, _TERM_GRACE_S), (signal.SIGKILL, _KILL_GRACE_S)):
        if not alive(who):
            return True
        _signal(who, number)
        waited_s, step_s = 0.0, 0.002
        while waited_s < grace_s:
            if not alive(who):
                return True
            sleep(step_s)
            waited_s += step_s
            step_s = min(0.05, step_s * 1.5)
    return not alive(who)


def _signal(who: Identity, number: signal.Signals) -> None:
    stat = _stat(who.pid)
    try:
        if stat is not None and stat[1][_GROUP - 1] == who.pid:
            os.killpg(who.pid, number)
            os.killpg(who.pid, signal.SIGCONT)  # a stopped process does not end
        else:
            os.kill(who.pid, number)
    except ProcessLookupError:
        return


def spawn_detached(
    arguments: Sequence[str], environment: Mapping[str, str], streams: Tuple[int, int, int]
) -> Optional[int]:
    """Start a program in its own session, at /, with only these three streams open; it is nobody's child.

    Returns its pid, or None where it could not be forked. A program that cannot be started ends with status 127.
    """
    with closing_all() as ours:
        read_end, write_end = os.pipe()
        ours += [read_end, write_end]
        middle = os.fork()
        if middle == 0:
            try:
                pid = os.fork()
                if pid == 0:
                    _become(arguments, environment, streams)
                os.write(write_end, str(pid).encode())
            finally:
                os._exit(0)  # never back into the caller's code, whatever happened
        os.close(write_end)
        ours.remove(write_end)
        os.waitpid(middle, 0)
        answer = os.read(read_end, 32)
    return int(answer) if answer else None


def fork_served(serve: Callable[[int, int], None]) -> Tuple[int, int, int]:
    """Fork a child that reads requests and writes answers, with no other tie to us; return its pid and our two ends."""
    parent = os.getpid()
    with closing_all() as ours:
        request_end, requests = os.pipe()
        ours += [request_end, requests]
        answers, answer_end = os.pipe()
        ours += [answers, answer_end]
        pid = os.fork()
        if pid == 0:
            try:
                from chaosgpu.agent.driver_child import become_child  # noqa: PLC0415 (ctypes is for children only)

                become_child(request_end, answer_end, parent)
                serve(request_end, answer_end)
            finally:
                os._exit(0)  # as above
        ours.remove(requests)
        ours.remove(answers)
    return pid, requests, answers


@contextmanager
def closing_all() -> Iterator[List[int]]:
    """Close the descriptors that are in the list at the end, however it comes: an undo may need every one of them."""
    opened: List[int] = []
    try:
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _become(arguments: Sequence[str], environment: Mapping[str, str], streams: Tuple[int, int, int]) -> NoReturn:
    try:
        os.setsid()
        os.chdir("/")
        # High copies first, so that no stream overwrites another; then nothing else stays open, inherited or not.
        copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3) for descriptor in streams]
        for target, descriptor in enumerate(copies):
            os.dup2(descriptor, target)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 (pathlib costs 9 ms)
        os.closerange(3, highest + 1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execve(arguments[0], list(arguments), dict(environment))  # noqa: S606 (a list, no shell)
    finally:
        os._exit(127)
