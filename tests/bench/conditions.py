# SPDX-License-Identifier: Apache-2.0
"""What a host may suffer from while a lease ends: no core, memory, room on disk, process or network to be had.

Memory and processes are limited by this machine, through its own cgroups of version 1, for this one host alone.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench import groups
from bench.hosts import Bench, Host
from bench.plan import BenchFailed
from bench.waiting import wait_until

__all__ = ["CONDITIONS", "can", "prepare"]

type Condition = Callable[[Bench, Host], AbstractContextManager[None]]

_STATE = "/var/lib/chaosgpu"
_MEMORY_MIB = 160
_OTHERS_WRITE = 64 << 10
_MORE_PROCESSES = 60  # so many more may run than before; the hog takes them all, again and again
# What it takes it gives back a moment later, and somebody else may be quicker to have it.
_FORKS = """
import os, random, time
while True:
    try:
        if os.fork() == 0:
            time.sleep(random.uniform(0.1, 0.5))
            os._exit(0)
    except BlockingIOError:
        time.sleep(0.001)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""
_MEMORY = """
held = []
while True:
    held.append(bytearray(1 << 20))
    for block in held:
        block[::4096] = bytes(256)
"""


def prepare(host: Host) -> None:
    """Give the host a state folder of its own, small enough to be filled to the last byte."""
    host.run(["sh", "-c", f"mkdir -p {_STATE} && mount -t tmpfs -o size=8m,mode=0700 tmpfs {_STATE}"], check=True)
    host.run(["sh", "-c", "mount -o remount,size=24m /run; mount -o remount,size=8m /tmp"], check=True)


@contextmanager
def _idle(_bench: Bench, _host: Host) -> Iterator[None]:
    yield


@contextmanager
def _unit(host: Host, name: str, *words: str) -> Iterator[None]:
    """Run something as a unit that starts again whatever ends it, and is the first to be killed for memory."""
    properties = ("Restart=always", "RestartSec=50ms", "StartLimitIntervalSec=0", "OOMScoreAdjust=1000")
    start = ["systemd-run", "--quiet", f"--unit={name}", *(f"--property={each}" for each in properties), *words]
    host.run(start, check=True)
    try:
        yield
    finally:
        host.run(["systemctl", "stop", name])


@contextmanager
def _busy(_bench: Bench, host: Host) -> Iterator[None]:
    with _unit(host, "busy", "sh", "-c", "for n in 1 2 3; do (while :; do :; done) & done; while :; do :; done"):
        yield


@contextmanager
def _limited(bench: Bench, host: Host, kind: str, limit: str, most: Callable[[int], int]) -> Iterator[None]:
    """Put every process of the host into a group of this machine with a limit, and take them out again."""
    folder = groups.first_version(kind) / bench.plan.identity / host.name
    folder.mkdir(parents=True)
    try:
        running = _move(bench, host, folder)
        (folder / limit).write_text(str(most(running)))
        yield
    finally:
        (folder / limit).write_text("-1" if kind == "memory" else "max")
        for _ in range(50):  # what is started meanwhile is in the group of who starts it
            if not (folder / "cgroup.procs").read_text():
                break
            _move(bench, host, groups.first_version(kind))
        folder.rmdir()
        folder.parent.rmdir()


def _move(bench: Bench, host: Host, folder: Path) -> int:
    pids = groups.pids(f"{bench.plan.identity}/{host.name}")
    for pid in pids:
        try:
            (folder / "cgroup.procs").write_text(str(pid))
        except ProcessLookupError:
            continue  # it ended meanwhile
    return len(pids)


@contextmanager
def _little_memory(bench: Bench, host: Host) -> Iterator[None]:
    limit = _limited(bench, host, "memory", "memory.limit_in_bytes", lambda _: _MEMORY_MIB << 20)
    with _unit(host, "hog", "python3", "-c", _MEMORY), limit:
        yield


@contextmanager
def _few_processes(bench: Bench, host: Host) -> Iterator[None]:
    limit = _limited(bench, host, "pids", "pids.max", lambda running: running + _MORE_PROCESSES)
    with limit:
        host.run(["systemd-run", "--quiet", "--unit=hog", "python3", "-c", _FORKS], check=True)
        fails = groups.first_version("pids") / bench.plan.identity / host.name / "pids.events"
        wait_until(lambda: "max 0" not in fails.read_text())
        try:
            yield
        finally:
            (fails.parent / "pids.max").write_text("max")
            host.run(["systemctl", "stop", "hog"])


@contextmanager
def _full_disks(_bench: Bench, host: Host) -> Iterator[None]:
    full = [f"{folder}/full" for folder in (_STATE, "/run", "/tmp")]  # noqa: S108 (of the host, to be filled)
    fill = "; ".join(
        f"dd if=/dev/zero of={path} bs=4k 2>/dev/null; dd if=/dev/zero bs=1 >>{path} 2>/dev/null" for path in full
    )
    host.run(["sh", "-c", fill])
    try:
        left = host.run(["df", "--output=avail", "--block-size=1", _STATE, "/run", "/tmp"]).stdout.split()[1:]  # noqa: S108
        if left[0] != "0" or max(map(int, left)) > _OTHERS_WRITE:  # the host's own services go on writing to /run
            raise BenchFailed(f"The disks of {host.name} are not full: {left} bytes are free.")
        yield
    finally:
        host.run(["rm", "-f", *full])


@contextmanager
def _no_network(_bench: Bench, host: Host) -> Iterator[None]:
    host.cut_network()
    try:
        yield
    finally:
        host.restore_network()


CONDITIONS: dict[str, Condition] = {
    "idle": _idle,
    "every core busy": _busy,
    "memory short": _little_memory,
    "disks full": _full_disks,
    "processes short": _few_processes,
    "network down": _no_network,
}


def can(condition: str) -> bool:
    """Tell whether this machine can make it: two of them need its cgroups of version 1."""
    needs = {"memory short": "memory", "processes short": "pids"}
    return condition not in needs or groups.has_first_version(needs[condition])
