# SPDX-License-Identifier: Apache-2.0
"""Strike points drawn at random on hosts of the drill's own, two at a time, and leave nothing behind."""

import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from tempfile import TemporaryDirectory

from chaosgpu.errors import Refused
from chaosgpu.selfdrill import failing, oracle, plan, points, strace
from chaosgpu.selfdrill.host import FILE, LOCK, World, kill, on_file
from chaosgpu.selfdrill.points import Outcome, Point

__all__ = ["FAULTS", "Settings", "Struck", "check", "run", "until_hit"]

FAULTS = (FILE, LOCK)
TRIES = 8  # a kill that misses, since a busy machine took another turn, is planned again
_FAILING_SHARE = 4  # one point of so many is a call that fails
_ROOM = Path("/dev/shm")  # noqa: S108 (what is synced to memory is synced fast; a kill -9 loses nothing on either)
_LOOK_EVERY_S = 0.2
_TRACE_WITHIN_S = 10.0


@dataclass(frozen=True)
class Settings:
    """How many points, which, and for how long at most."""

    points: int
    seed: int
    minutes: float


@dataclass(frozen=True)
class Struck:
    """One point, how often it was tried, and what came of it."""

    point: Point
    tries: int
    outcome: Outcome


_Said = Queue[Struck | int | str]  # a point that was struck, how many are planned, or why there are none


def check() -> None:
    """Refuse where processes cannot be traced, with what to install or allow."""
    command = [strace.find_strace(), "-qq", "-o", os.devnull, "true"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=_TRACE_WITHIN_S, check=False)
    if tried.returncode != 0:
        raise Refused(
            f"strace may not trace a process here ({tried.stderr.strip().splitlines()[-1:] or tried.returncode}): in a "
            "container allow it with --cap-add SYS_PTRACE; elsewhere /proc/sys/kernel/yama/ptrace_scope says who may "
            "(2: root only, 3: nobody until the next boot)."
        )


def run(settings: Settings, tell: Callable[[int, Struck | None], None]) -> tuple[int, list[Struck]]:
    """Strike; return how many points were planned and what came of each. `tell` hears of each as it comes."""
    check()
    until_s = time.monotonic() + 60 * settings.minutes
    planned, struck = 0, list[Struck]()
    with _hosts() as folders:
        context = multiprocessing.get_context("spawn")
        said: _Said = context.Queue()
        workers: list[BaseProcess] = [
            context.Process(target=_work, args=(said, folder, fault, _share(settings, index), until_s), daemon=True)
            for index, (fault, folder) in enumerate(folders.items())
        ]
        for worker in workers:
            worker.start()
        try:
            for one in _all_said(said, workers):
                if isinstance(one, str):
                    raise Refused(one)
                planned += one if isinstance(one, int) else 0
                struck += [one] if isinstance(one, Struck) else []
                tell(planned, one if isinstance(one, Struck) else None)
        finally:
            for worker in workers:
                worker.kill()
                worker.join()
    return planned, struck


def until_hit(host: World, point: Point) -> Struck:
    """Strike one point; one that misses is planned again."""
    outcome, tries = Outcome(hit=False), 0
    while tries < TRIES and not (outcome.hit or outcome.residue):
        if tries:
            point = replace(point, call=strace.again(host.folder / "trace", point.call))
        tries += 1
        outcome = failing.strike(host, point) if failing.is_failure(point) else points.strike(host, point)
    return Struck(point, tries, outcome)


def _share(settings: Settings, index: int) -> Settings:
    """Return what one of the hosts does: half of the points, the first one more where they are odd."""
    return replace(settings, points=(settings.points + len(FAULTS) - 1 - index) // len(FAULTS))


def _work(said: _Said, folder: Path, fault: str, settings: Settings, until_s: float) -> None:
    """Strike one host's share; another process ends what is left if this one dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the command's to end us
    host = on_file(folder, fault)
    try:
        chosen = _draw(host, settings)
    except OSError as error:
        said.put(f"The drill's host in {folder} could not be traced: {error}.")
        return
    said.put(len(chosen))
    for point in chosen:
        if time.monotonic() > until_s:
            return
        struck = until_hit(host, point)
        said.put(struck)
        if struck.outcome.residue:
            return  # what is left would be counted again at every further point


def _draw(host: World, settings: Settings) -> Sequence[Point]:
    fails = settings.points // _FAILING_SHARE
    found = [point for segment in plan.segments(host) for point in segment.points(host.fault)]
    chosen = plan.spread(found, settings.points - fails, settings.seed)
    return [*chosen, *(failing.planned(host, fails, seed=settings.seed) if fails else [])]


def _all_said(said: _Said, workers: Sequence[BaseProcess]) -> Iterator[Struck | int | str]:
    while True:
        alive = any(worker.is_alive() for worker in workers)
        try:
            yield said.get(timeout=_LOOK_EVERY_S)
        except Empty:
            if not alive:
                return


@contextmanager
def _hosts() -> Iterator[dict[str, Path]]:
    """Make a folder for each host; at the end, however it comes, nothing of them is left."""
    room = _ROOM if _ROOM.is_dir() and os.access(_ROOM, os.W_OK) else None
    with TemporaryDirectory(prefix="chaosgpu-self-drill-", dir=room, ignore_cleanup_errors=True) as root:
        folders = {fault: Path(root).resolve() / fault for fault in FAULTS}
        for folder in folders.values():
            folder.mkdir()
        try:
            yield folders
        finally:
            for folder in folders.values():
                _end(folder / "home")


def _end(home: Path) -> None:
    """End whatever carries the home, and what that has begun meanwhile."""
    while alive := oracle.processes(oracle.mark_of(home)):
        for pid in alive:
            kill(pid)
        time.sleep(_LOOK_EVERY_S / 10)
