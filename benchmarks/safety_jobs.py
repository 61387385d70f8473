# SPDX-License-Identifier: Apache-2.0
"""What one process is asked to trace or to strike on one host, and how it does so on a host beside it in memory."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaosgpu.selfdrill import failing, plan  # noqa: E402 (beside this file, wherever the tree lies)
from chaosgpu.selfdrill.host import World  # noqa: E402
from chaosgpu.selfdrill.plan import Segment  # noqa: E402
from chaosgpu.selfdrill.points import Point  # noqa: E402
from crash import world  # noqa: E402 (beside this file, wherever the tree lies)
from crash.jobs import Job, until_hit  # noqa: E402
from safety_store import FOLDER, Line  # noqa: E402

_ROOM = Path("/dev/shm")  # noqa: S108 (what is synced to memory is synced fast; a kill -9 loses nothing on either)


@dataclass(frozen=True)
class Look:
    """Phases of a fault that nobody has traced yet, or so many calls of it that are to be drawn to fail."""

    fault: str
    phases: tuple[str, ...] = ()
    fails: int = 0


@dataclass(frozen=True)
class Batch:
    """What one process strikes on one host, with all that it needs to know."""

    fault: str
    jobs: tuple[Job, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Done:
    """What came of either."""

    segments: tuple[Segment, ...] = ()
    failing: tuple[Point, ...] = ()
    lines: tuple[Line, ...] = ()


def do(task: Look | Batch) -> Done:
    """Trace, draw or strike."""
    if isinstance(task, Batch):
        return Done(lines=tuple(_strike_all(task)))
    with _host(task.fault) as host:
        drawn = failing.planned(host, task.fails) if task.fails else ()
        return Done(tuple(plan.segments(host, task.phases)), tuple(drawn))


def kept_aside(fault: str, job: str) -> Path:
    """Return where the state of a host with something left is kept."""
    return FOLDER / "residue" / f"{fault}-{job}".replace("/", "-")


def _strike_all(batch: Batch) -> Iterator[Line]:
    """Strike the points of one batch on one host; a host with something left is kept aside and made anew."""
    known = [point for segment in batch.segments for point in segment.points(batch.fault)]
    jobs = list(batch.jobs)
    while jobs:
        with _host(batch.fault) as host:
            while jobs:
                job = jobs.pop(0)
                tries, outcome = until_hit(host, job, known)
                yield Line.of(job.name, tries, outcome)
                if outcome.residue:
                    shutil.copytree(host.home, kept_aside(batch.fault, job.name), dirs_exist_ok=True)
                    break


@contextmanager
def _host(fault: str) -> Iterator[World]:
    with TemporaryDirectory(dir=_ROOM if _ROOM.is_dir() else None, ignore_cleanup_errors=True) as folder:
        host = world.build(Path(folder), fault)
        try:
            yield host
        finally:
            host.end()
