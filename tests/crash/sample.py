# SPDX-License-Identifier: Apache-2.0
"""A few points of every fault on hosts of their own: what `make test` strikes. The whole is benchmarks/safety.py."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from chaosgpu.selfdrill import failing, plan
from chaosgpu.selfdrill.host import World
from chaosgpu.selfdrill.points import Outcome, Point
from crash import world
from crash.jobs import Job, until_hit

ROOM = Path("/dev/shm")  # noqa: S108 (what is synced to memory is synced fast; a kill -9 loses nothing on either)


@dataclass(frozen=True)
class Share:
    """What one worker strikes: some phases of one fault, and how many points of them."""

    fault: str
    phases: tuple[str, ...]
    roles: tuple[str, ...]
    count: int


def room() -> Path | None:
    """Return where hosts are made, None for the system's own place."""
    return ROOM if ROOM.is_dir() else None


def strike_share(share: Share) -> list[tuple[Point, Outcome]]:
    """Trace the share's phases, draw points of them with a fixed seed, strike them; end at the first with residue."""
    with _host(share.fault) as host:
        found = [
            point for segment in plan.segments(host, share.phases, share.roles) for point in segment.points(share.fault)
        ]
        return _struck(host, plan.spread(found, share.count, seed=3))


def strike_failing_share(fault: str, count: int) -> list[tuple[Point, Outcome]]:
    """Draw calls of all phases and have them fail."""
    with _host(fault) as host:
        return _struck(host, failing.planned(host, count))


def _struck(host: World, chosen: Sequence[Point]) -> list[tuple[Point, Outcome]]:
    struck: list[tuple[Point, Outcome]] = []
    for point in chosen:
        struck.append((point, until_hit(host, Job(point.name, point), ())[1]))
        if struck[-1][1].residue:
            break
    return struck


@contextmanager
def _host(fault: str) -> Iterator[World]:
    with TemporaryDirectory(dir=room(), ignore_cleanup_errors=True) as folder:
        host = world.build(Path(folder), fault)
        try:
            yield host
        finally:
            host.end()


def shares(faults: Sequence[str]) -> list[Share]:
    """Cut the sample so that two workers have about the same to do."""
    cut = []
    for fault in faults:
        cut.append(Share(fault, ("apply",), ("agent", "hold", "keep"), 14))
        cut.append(Share(fault, ("undo alone", "keeper", "boot"), ("agent", "keep-revert"), 16))
    return cut
