# SPDX-License-Identifier: Apache-2.0
"""Strike points in several processes, and keep what came of each in a file that a later session goes on with."""

import hashlib
import json
import multiprocessing
import random
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from crash import plan, points, world  # noqa: E402 (beside this file, wherever the tree lies)
from crash.points import Outcome, Point, Second  # noqa: E402
from crash.strace import Call, again  # noqa: E402

FAULTS = world.FAULTS
FOLDER = Path("figures") / "safety"
SEED = "chaosgpu"
BATCH = 24
TRIES = 8  # a kill that misses, since a busy host took another turn, is planned again
_ROOM = Path("/dev/shm")  # noqa: S108 (what is synced to memory is synced fast; a kill -9 loses nothing on either)


@dataclass(frozen=True)
class Job:
    """One planned point, or two crashes in a row drawn from the fault's points."""

    key: str
    point: Point | None
    draw: str = ""


@dataclass(frozen=True)
class Line:
    """What came of one job, as a line of the results."""

    key: str
    agent: str
    double: bool
    tries: int
    outcome: Outcome

    def to_json(self) -> str:
        """Return it as one line."""
        fields = {name: value for name, value in asdict(self).items() if name != "outcome"}
        return json.dumps({**fields, **asdict(self.outcome)})


def agent_digest() -> str:
    """Return a digest of the agent's sources: what another agent survived says nothing about this one."""
    total = hashlib.sha256()
    for path in sorted((ROOT / "chaosgpu" / "agent").rglob("*.py")):
        total.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return total.hexdigest()[:16]


def results(agent: str) -> dict[str, dict[str, Any]]:
    """Return the last line of each job of this agent that is planned."""
    path = FOLDER / "points.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = (json.loads(line) for line in lines)
    keys = {point.key for fault in FAULTS if _plan(agent, fault).exists() for point in planned(agent, fault)}
    return {line["key"]: line for line in found if line["agent"] == agent and (line["double"] or line["key"] in keys)}


def planned(agent: str, fault: str) -> list[Point]:
    """Return every point of a fault: traced once for this agent, then kept."""
    path = _plan(agent, fault)
    if not path.exists():
        with TemporaryDirectory(dir=_room()) as folder:
            host = world.build(Path(folder), fault)
            try:
                found = [point for segment in plan.segments(host) for point in segment.points(fault)]
            finally:
                host.end()
        path.write_text(json.dumps([asdict(point) for point in found]))
    return [Point(**{**entry, "call": Call(**entry["call"])}) for entry in json.loads(path.read_text())]


def _plan(agent: str, fault: str) -> Path:
    return FOLDER / f"plan-{agent}-{fault}.json"


def run(agent: str, workers: int, until_s: float, doubles: int) -> None:
    """Strike what has not been struck yet, until the time is over."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool, (FOLDER / "points.jsonl").open("a", encoding="utf-8") as file:
        list(pool.map(planned, [agent] * len(FAULTS), FAULTS))
        batches = _batches(agent, doubles)
        running: set[Future[list[Line]]] = set()
        while True:
            while len(running) < workers and time.time() < until_s and (batch := next(batches, None)):
                running.add(pool.submit(strike_all, agent, batch[0], batch[1]))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                for line in future.result():
                    file.write(line.to_json() + "\n")
                    _say(line)
                file.flush()


def _batches(agent: str, doubles: int) -> Iterator[tuple[str, list[Job]]]:
    """Yield what is left to do, a batch of one fault at a time, all faults in turn; double crashes in between."""
    done = {key for key, line in results(agent).items() if line["hit"]}
    singles = {fault: _singles(agent, fault, done) for fault in FAULTS}
    pairs: dict[str, list[Job]] = {fault: [] for fault in FAULTS}
    for number in range(doubles):
        fault = FAULTS[number % len(FAULTS)]
        key = f"double-{number}-{fault}"
        if key not in done:
            pairs[fault].append(Job(key, None, f"{SEED}-{number}"))
    while any(singles.values()) or any(pairs.values()):
        for fault in FAULTS:
            for left, size in ((singles[fault], BATCH), (pairs[fault], BATCH // 2)):
                batch, left[:] = left[:size], left[size:]
                if batch:
                    yield fault, batch


def _singles(agent: str, fault: str, done: set[str]) -> list[Job]:
    found = planned(agent, fault)
    chosen = plan.spread(found, len(found), seed=1)
    return [Job(point.key, point) for point in chosen if point.key not in done]


def strike_all(agent: str, fault: str, jobs: list[Job]) -> list[Line]:
    """Strike the points of one batch on one host; a host with something left is kept aside and made anew."""
    known = planned(agent, fault)
    lines = []
    while jobs:
        with TemporaryDirectory(dir=_room(), ignore_cleanup_errors=True) as folder:
            host = world.build(Path(folder), fault)
            try:
                while jobs:
                    job = jobs.pop(0)
                    tries, outcome = _until_hit(host, job, known)
                    lines.append(Line(job.key, agent, job.point is None, tries, outcome))
                    if outcome.residue:
                        shutil.copytree(host.home, FOLDER / "residue" / job.key.replace("/", "-"), dirs_exist_ok=True)
                        break
            finally:
                host.end()
    return lines


def _until_hit(host: world.World, job: Job, known: list[Point]) -> tuple[int, Outcome]:
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


def _say(line: Line) -> None:
    if line.outcome.residue or not line.outcome.hit:
        what = "RESIDUE" if line.outcome.residue else "missed"
        print(f"{what} {line.key} after {line.tries} tries: {line.outcome.residue}", flush=True)


def _room() -> Path | None:
    return _ROOM if _ROOM.is_dir() else None
