# SPDX-License-Identifier: Apache-2.0
"""Strike points in several processes, and keep what came of each for a later session to go on with."""

import hashlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import safety_hosts  # noqa: E402 (with the tree and its tests found, wherever they lie)
import safety_jobs  # noqa: E402
from chaosgpu.selfdrill import plan  # noqa: E402
from crash import world  # noqa: E402
from crash.jobs import Job  # noqa: E402
from safety_jobs import Batch, Done, Look  # noqa: E402
from safety_store import DOUBLE, Line, Store  # noqa: E402

__all__ = ["FAULTS", "ROOT", "Wanted", "agent_digest", "run", "stores"]

FAULTS = world.FAULTS
SEED = "chaosgpu"
BATCH = 12  # a point on packages takes half a minute
HOSTS_A_CORE = 2  # most of a point is waiting for a lease to end

type _Task = Look | Batch


@dataclass(frozen=True)
class Wanted:
    """How many double crashes in all, failing calls and single crashes of each fault; which faults: names, patterns."""

    doubles: int
    fails: int
    points: int | None = None  # all that there are
    faults: Sequence[str] = ("*",)

    def of(self, kept: dict[str, Store]) -> dict[str, Store]:
        """Return those of these stores."""
        return {fault: store for fault, store in kept.items() if any(fnmatchcase(fault, one) for one in self.faults)}


@dataclass
class _Lane:
    """One kind of host: which are free, who strikes there, and what is left to do, a stage after the other."""

    kept: dict[str, Store]
    free: list[str]
    submit: Callable[[str, _Task], "Future[Done]"]
    stages: list[Callable[[dict[str, Store]], Iterator[_Task]]]
    running: dict["Future[Done]", tuple[str, str]] = field(default_factory=dict)
    tasks: Iterator[_Task] = field(default_factory=lambda: iter(()))

    def fill(self, until_s: float) -> None:
        """Keep every host busy as long as there is time; a stage begins when all of the one before is known."""
        while self.free and time.time() < until_s:
            task = next(self.tasks, None)
            if task is not None:
                name = self.free.pop()
                self.running[self.submit(name, task)] = task.fault, name
            elif self.stages and not self.running:
                self.tasks = self.stages.pop(0)(self.kept)
            else:
                return

    def take(self, done: "Future[Done]") -> None:
        """Keep what came of a task."""
        fault, name = self.running.pop(done)
        self.free.append(name)
        store, found = self.kept[fault], done.result()
        if found.segments or found.failing:
            store.segments += found.segments
            store.failing += found.failing
            store.write()
        if found.lines:
            store.add(found.lines)
        _say(found.lines)


def agent_digest() -> str:
    """Return a digest of what leases on GPUs go through, for figures that no single fault decides."""
    of_each = "".join(world.digest_of(fault) for fault in world.GPU_FAULTS)
    return hashlib.sha256(of_each.encode()).hexdigest()[:16]


def stores() -> dict[str, Store]:
    """Return what was struck on each fault, as far as it counts for these sources."""
    return {fault: Store.read(fault, world.digest_of(fault)) for fault in FAULTS}


def run(workers: int, until_s: float, wanted: Wanted) -> None:
    """Strike what has not been struck yet, until the time is over."""
    with ExitStack() as stack:
        lanes = _lanes(stack, workers * HOSTS_A_CORE, wanted)
        for lane in lanes:
            lane.fill(until_s)
        while any(lane.running for lane in lanes):
            done, _ = wait([future for lane in lanes for future in lane.running], return_when=FIRST_COMPLETED)
            for lane in lanes:
                for future in done & lane.running.keys():
                    lane.take(future)
                lane.fill(until_s)


def _lanes(stack: ExitStack, most: int, wanted: Wanted) -> list[_Lane]:
    """Return the kinds of hosts that are needed and can be had here; two of them share the cores."""
    kept = wanted.of(stores())
    units = {fault: store for fault, store in kept.items() if fault in world.ON_HOSTS}
    others = {fault: store for fault, store in kept.items() if fault not in units}
    why_none = safety_hosts.why_not() if units else None
    if why_none is not None:
        print(f"The faults on units and packages are left out. {why_none}", flush=True)
        units = {}
    pool = stack.enter_context(ProcessPoolExecutor(most, multiprocessing.get_context("spawn")))
    each = most // 2 if units and others else most
    lanes = []
    if others:
        names = [str(number) for number in range(each)]
        lanes.append(_Lane(others, names, lambda _, task: pool.submit(safety_jobs.do, task), _stages(wanted)))
    if units:
        hosts = stack.enter_context(safety_hosts.up(each))
        on = (hosts.directory, hosts.shim_sha256)
        names = [*hosts.names]
        lanes.append(_Lane(units, names, lambda *task: pool.submit(safety_hosts.do, *on, *task), _stages(wanted)))
    return lanes


def _stages(wanted: Wanted) -> list[Callable[[dict[str, Store]], Iterator[_Task]]]:
    return [lambda kept: _looks(kept, wanted), lambda kept: _batches(kept, wanted)]


def _looks(kept: dict[str, Store], wanted: Wanted) -> Iterator[_Task]:
    """Yield each phase that nobody has traced yet for this digest, and the draw of calls that are to fail."""
    for fault, store in kept.items():
        known = {segment.phase for segment in store.segments}
        if not store.failing and wanted.fails:  # it takes longest
            yield Look(fault, fails=wanted.fails)
        yield from (Look(fault, (phase,)) for phase in world.phases_of(fault) if phase not in known)


def _batches(kept: dict[str, Store], wanted: Wanted) -> Iterator[_Task]:
    """Yield what is left to do, a batch of one fault at a time, all faults in turn; double crashes in between."""
    left = {fault: (_singles(store, wanted), _failing(store), _pairs(store, wanted)) for fault, store in kept.items()}
    while any(any(kinds) for kinds in left.values()):
        for fault, kinds in left.items():
            for jobs, size in zip(kinds, (BATCH, BATCH // 2, BATCH // 2), strict=True):
                taken, jobs[:] = jobs[:size], jobs[size:]
                if taken:
                    yield Batch(fault, tuple(taken), tuple(kept[fault].segments))


def _singles(store: Store, wanted: Wanted) -> list[Job]:
    found = [point for segment in store.segments for point in segment.points(store.fault)]
    done, most = store.done(), len(found) if wanted.points is None else wanted.points
    return [Job(point.name, point) for point in plan.spread(found, most, seed=1) if point.name not in done]


def _failing(store: Store) -> list[Job]:
    done = store.done()
    return [Job(point.name, point) for point in store.failing if point.name not in done]


def _pairs(store: Store, wanted: Wanted) -> list[Job]:
    """Draw this fault's share of the double crashes, each by a seed of its own."""
    done, earlier = store.done(), world.EARLIER
    numbers = [number for number in range(wanted.doubles) if earlier[number % len(earlier)] == store.fault]
    if store.fault not in earlier:
        numbers = list(range(wanted.doubles, wanted.doubles + wanted.doubles // len(FAULTS)))
    return [Job(f"{DOUBLE}{n}", None, f"{SEED}-{n}") for n in numbers if f"{DOUBLE}{n}" not in done]


def _say(lines: Sequence[Line]) -> None:
    for line in lines:
        if line.residue or not line.hit:
            what = "RESIDUE" if line.residue else "missed"
            print(f"{what} {line.name} after {line.tries} tries: {line.residue}", flush=True)
