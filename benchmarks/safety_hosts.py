# SPDX-License-Identifier: Apache-2.0
"""Strike the faults of units and packages inside test hosts (docs/bench.md), several hosts at a time."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.hosts import Bench  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.machine import why_not  # noqa: E402
from bench.plan import BENCHES, BenchFailed  # noqa: E402
from bench.strike import Striker  # noqa: E402
from chaosgpu.agent.shim.library import provide  # noqa: E402
from safety_jobs import Batch, Done, Look, kept_aside  # noqa: E402
from safety_store import Line  # noqa: E402

__all__ = ["Hosts", "up", "why_not"]


@dataclass(frozen=True)
class Hosts:
    """Hosts that are up, with the harness on each."""

    directory: Path
    shim_sha256: str
    names: tuple[str, ...]


@contextmanager
def up(count: int) -> Iterator[Hosts]:
    """Boot so many hosts and put the harness on each; take them away afterwards."""
    bench = Bench(BENCHES / f"safety-{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="chaosgpu-safety-") as folder:
        Path(folder).chmod(0o755)
        shim = provide(folder, None)
        bench.up(count, print)
        try:
            for host in bench.hosts:
                Striker.install(host, shim)
            yield Hosts(bench.directory, shim.sha256, tuple(host.name for host in bench.hosts))
        finally:
            bench.down()


def do(directory: Path, shim_sha256: str, name: str, task: Look | Batch) -> Done:
    """Trace, draw or strike on one host; in a process of its own."""
    [host] = [host for host in Bench.attach(directory).hosts if host.name == name]
    striker = Striker(host, shim_sha256)
    try:
        if isinstance(task, Batch):
            return Done(lines=tuple(_strike_all(striker, task)))
        try:
            return _look(striker, task)
        except BenchFailed as error:  # the connection, not the agent: once more
            print(error, flush=True)
            striker.restart()
            return _look(striker, task)
    finally:
        host.disconnect()


def _look(striker: Striker, task: Look) -> Done:
    drawn = striker.failing(task.fault, task.fails) if task.fails else ()
    return Done(tuple(striker.trace(task.fault, task.phases) if task.phases else ()), tuple(drawn))


def _strike_all(striker: Striker, batch: Batch) -> Iterator[Line]:
    """Strike the points of one batch; a host with something left is kept aside and started anew."""
    jobs = list(batch.jobs)
    try:
        while jobs:
            for name, tries, outcome in striker.strike(batch.fault, jobs, batch.segments):
                jobs = jobs[1:]
                yield Line.of(name, tries, outcome)
                if outcome.residue:
                    striker.renew(kept_aside(batch.fault, name))
    except BenchFailed as error:  # the connection, not the agent: what is left of the batch is planned again
        print(error, flush=True)
        striker.restart()
