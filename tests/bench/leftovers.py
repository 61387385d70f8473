# SPDX-License-Identifier: Apache-2.0
"""Takes a bench away, whatever is left of it: by its own cgroup, mount points, network namespace and names alone."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import groups
from bench.plan import BenchFailed, BenchPlan

__all__ = ["clean", "forget", "left_of", "mounts_below", "only_one", "sweep", "unmount_below"]

_NSPAWN = Path("/run/systemd/nspawn")
_RACK_S = 15.0


def mounts_below(folder: Path) -> list[Path]:
    """List the mount points in a folder, itself included, those inside others first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].replace("\\040", " "))
        if point == folder or folder in point.parents:
            found.append(point)
    return found[::-1]


def unmount_below(folder: Path) -> None:
    """Unmount everything in a folder; raises BenchFailed if something stays, for then nothing may be removed there."""
    for point in mounts_below(folder):
        for options in ((), ("--lazy",)):
            done = subprocess.run(["umount", *options, str(point)], capture_output=True, timeout=20, check=False)
            if done.returncode == 0:
                break
    left = mounts_below(folder)
    if left:
        raise BenchFailed(f"{left[0]} cannot be unmounted; find who uses it with `fuser -vm {left[0]}`.")


def clean(plan: BenchPlan) -> None:
    """End every process of the bench and remove every trace of it; safe to call again."""
    groups.kill(plan.identity)
    _forget_nspawn(plan)
    unmount_below(Path(plan.directory))
    if plan.namespace.exists():
        subprocess.run(["ip", "netns", "delete", plan.identity], capture_output=True, timeout=20, check=False)
        plan.namespace.unlink(missing_ok=True)  # the file alone, where `ip netns add` was killed half-way
    groups.remove(plan.identity)
    shutil.rmtree(plan.sockets, ignore_errors=True)
    with suppress(OSError):  # another bench is up, or none ever was
        plan.sockets.parent.rmdir()
    if Path(plan.directory).exists():
        shutil.rmtree(plan.directory)


def forget(plan: BenchPlan) -> None:
    """Remove what lies beside the folder of a bench that is gone; what names it goes last."""
    for path in (plan.log, plan.rack_record, plan.record):
        path.unlink(missing_ok=True)


def _forget_nspawn(plan: BenchPlan) -> None:
    """Remove what nspawn leaves when it is killed: its lock on the folder, and its machine's propagation folder."""
    for host in plan.hosts:
        if host.root.exists():
            seen = host.root.stat()
            (_NSPAWN / "locks" / f"inode-{seen.st_dev}:{seen.st_ino}").unlink(missing_ok=True)
        for kind in ("propagate", "unix-export"):
            folder = _NSPAWN / kind / host.machine
            if folder.exists():
                unmount_below(folder)
                shutil.rmtree(folder)


def left_of(plan: BenchPlan) -> list[str]:
    """Name whatever is still there of a bench."""
    mounts = [f"mount {point}" for point in mounts_below(Path(plan.directory))]
    beside = [plan.log, plan.rack_record, plan.record]
    named = [*groups.folders(plan.identity), plan.namespace, plan.sockets, Path(plan.directory), *beside]
    nspawn = [_NSPAWN / kind / host.machine for kind in ("propagate", "unix-export") for host in plan.hosts]
    processes = [f"process {pid}" for pid in groups.pids(plan.identity)]
    rack = plan.rack()
    return [
        *mounts, *processes, *(str(path) for path in [*named, *nspawn] if path.exists()),
        *([] if rack is None else [f"rack {rack.pid}"]),
    ]  # fmt: skip


def sweep(benches: Path) -> list[str]:
    """Take away every bench in this folder that nobody looks after any more; return their names."""
    swept = []
    for record in sorted(benches.glob("*.bench.json")):
        plan = BenchPlan.read(record.with_name(record.name.removesuffix(".bench.json")))
        if plan is None or not plan.stale():
            continue
        deadline = time.monotonic() + _RACK_S
        while plan.rack() is not None and time.monotonic() < deadline:
            time.sleep(0.05)  # it has seen that its owner is gone and is at it already
        rack = plan.rack()
        if rack is not None:
            os.kill(rack.pid, signal.SIGKILL)
        clean(plan)
        forget(plan)
        swept.append(plan.identity)
    for torn in benches.glob(".*.json.*"):  # records are written under the lock that we hold, so nobody writes on
        torn.unlink()
    return swept


@contextmanager
def only_one(benches: Path) -> Iterator[int]:
    """Let one process at a time make or remove benches; give the lock, which goes on while a child has it."""
    benches.mkdir(parents=True, exist_ok=True)
    with (benches / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
