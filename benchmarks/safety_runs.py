# SPDX-License-Identifier: Apache-2.0
"""Strike points in several processes, and keep what came of each for a later session to go on with."""

import hashlib
import multiprocessing
import random
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaosgpu.selfdrill import plan, points  # noqa: E402 (beside this file, wherever the tree lies)
from chaosgpu.selfdrill.host import World  # noqa: E402
from chaosgpu.selfdrill.plan import Segment  # noqa: E402
from chaosgpu.selfdrill.points import Outcome, Point, Second  # noqa: E402
from chaosgpu.selfdrill.strace import again  # noqa: E402
from crash import depends, world  # noqa: E402 (beside this file, wherever the tree lies)
from safety_store import DOUBLE, FOLDER, Line, Store  # noqa: E402

FAULTS = world.FAULTS
SEED = "chaosgpu"
BATCH = 24
TRIES = 8  # a kill that misses, since a busy host took another turn, is planned again
HOSTS_A_CORE = 2  # most of a point is waiting for a lease to end
_ROOM = Path("/dev/shm")  # noqa: S108 (what is synced to memory is synced fast; a kill -9 loses nothing on either)


@dataclass(frozen=True)
class Job:
    """One planned point, or two crashes in a row drawn from the fault's points."""

    name: str
    point: Point | None
    draw: str = ""


@dataclass(frozen=True)
class Batch:
    """What one process strikes on one host, with all that it needs to know."""

    fault: str
    jobs: tuple[Job, ...]
    segments: tuple[Segment, ...]


def agent_digest() -> str:
    """Return a digest of what the whole agent says, for figures that no single fault decides."""
    total = hashlib.sha256()
    for path in sorted((ROOT / "chaosgpu" / "agent").rglob("*.py")):
        total.update(f"{path.relative_to(ROOT)}\n{depends.said(path.read_text(encoding='utf-8'))}\n".encode())
    return total.hexdigest()[:16]


def stores() -> dict[str, Store]:
    """Return what was struck on each fault, as far as it counts for these sources."""
    return {fault: Store.read(fault, world.digest_of(fault)) for fault in FAULTS}


def run(workers: int, until_s: float, doubles: int) -> None:
    """Strike what has not been struck yet, until the time is over."""
    kept = stores()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers * HOSTS_A_CORE, context) as pool:
        traced = pool.map(_missing, FAULTS, [_phases(kept[fault]) for fault in FAULTS])
        for fault, found in zip(FAULTS, traced, strict=True):
            if found:
                kept[fault].segments += found
                kept[fault].write()
        batches = _batches(kept, doubles)
        running: dict[Future[list[Line]], str] = {}
        while True:
            while len(running) < workers * HOSTS_A_CORE and time.time() < until_s and (batch := next(batches, None)):
                running[pool.submit(strike_all, batch)] = batch.fault
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                lines = future.result()
                kept[running.pop(future)].add(lines)
                _say(lines)


def _phases(store: Store) -> frozenset[str]:
    return frozenset(segment.phase for segment in store.segments)


def _missing(fault: str, known: frozenset[str]) -> list[Segment]:
    """Trace the phases that nobody has traced yet for this digest."""
    phases = [phase for phase in points.PHASES if phase not in known]
    if not phases:
        return []
    with TemporaryDirectory(dir=_room()) as folder:
        host = world.build(Path(folder), fault)
        try:
            return plan.segments(host, phases)
        finally:
            host.end()


def _batches(kept: dict[str, Store], doubles: int) -> Iterator[Batch]:
    """Yield what is left to do, a batch of one fault at a time, all faults in turn; double crashes in between."""
    singles = {fault: _singles(store) for fault, store in kept.items()}
    pairs: dict[str, list[Job]] = {fault: [] for fault in FAULTS}
    for number in range(doubles):
        fault = FAULTS[number % len(FAULTS)]
        name = f"{DOUBLE}{number}"
        if name not in kept[fault].done():
            pairs[fault].append(Job(name, None, f"{SEED}-{number}"))
    while any(singles.values()) or any(pairs.values()):
        for fault in FAULTS:
            for left, size in ((singles[fault], BATCH), (pairs[fault], BATCH // 2)):
                jobs, left[:] = left[:size], left[size:]
                if jobs:
                    yield Batch(fault, tuple(jobs), tuple(kept[fault].segments))


def _singles(store: Store) -> list[Job]:
    found = [point for segment in store.segments for point in segment.points(store.fault)]
    done = store.done()
    return [Job(point.name, point) for point in plan.spread(found, len(found), seed=1) if point.name not in done]


def strike_all(batch: Batch) -> list[Line]:
    """Strike the points of one batch on one host; a host with something left is kept aside and made anew."""
    known = [point for segment in batch.segments for point in segment.points(batch.fault)]
    jobs, lines = list(batch.jobs), []
    while jobs:
        with TemporaryDirectory(dir=_room(), ignore_cleanup_errors=True) as folder:
            host = world.build(Path(folder), batch.fault)
            try:
                while jobs:
                    job = jobs.pop(0)
                    tries, outcome = _until_hit(host, job, known)
                    lines.append(Line.of(job.name, tries, outcome))
                    if outcome.residue:
                        kept = FOLDER / "residue" / f"{batch.fault}-{job.name}".replace("/", "-")
                        shutil.copytree(host.home, kept, dirs_exist_ok=True)
                        break
            finally:
                host.end()
    return lines


def _until_hit(host: World, job: Job, known: list[Point]) -> tuple[int, Outcome]:
    draw = random.Random(job.draw)  # noqa: S311 (seeded on purpose)
    outcome, point = Outcome(hit=False), job.point
    for number in range(1, TRIES + 1):
        if point is not None:
            outcome = points.strike(host, point)
            point = replace(point, call=again(host.folder / "trace", point.call))
        else:
            first, second = _pair(draw, known)
            outcome = points.strike(host, first, second)
        if outcome.hit or outcome.residue:
            return number, outcome
    return TRIES, outcome


def _pair(draw: random.Random, known: list[Point]) -> tuple[Point, Second]:
    first = draw.choice([point for point in known if point.phase in ("apply", "undo", "renew", "halt")])
    by_keeper = draw.choice([point.call for point in known if point.role == "keep-revert"])
    by_sweep = draw.choice([point.call for point in known if (point.phase, point.role) == ("sweep", "agent")])
    return first, Second(by_keeper, by_sweep)


def _say(lines: list[Line]) -> None:
    for line in lines:
        if line.residue or not line.hit:
            what = "RESIDUE" if line.residue else "missed"
            print(f"{what} {line.name} after {line.tries} tries: {line.residue}", flush=True)


def _room() -> Path | None:
    return _ROOM if _ROOM.is_dir() else None
