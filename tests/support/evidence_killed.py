# SPDX-License-Identifier: Apache-2.0
"""A run whose controller is killed before its n-th write, and what its record lacks, from the order of writes alone."""

import contextlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.fleet.values import JsonValue
from support.evidence_world import Clock, Pen, World, write_run

HOSTS = ("gpu1", "gpu2")


class Killed(BaseException):
    """Ends everything at once, as SIGKILL does: nothing may catch it."""


@dataclass(frozen=True)
class Left:
    """What a killed run left, and what it lacks."""

    run: str
    lacks: tuple[str, ...]


class MortalPen(Pen):
    """Writes until its time has come; then, where it is so, half a line."""

    def __init__(self, folder: Path, clock: Clock, last: int, *, torn: bool) -> None:
        super().__init__(folder, clock)
        self._last, self._torn = last, torn
        self.done: list[tuple[str, str]] = []
        self.torn_bytes = 0

    def line(self, entry_type: str, **entry: JsonValue) -> None:
        self._live(entry_type)
        super().line(entry_type, **entry)
        self.done.append((entry_type, str(entry.get("host", ""))))

    def file(self, name: str, document: JsonValue) -> None:
        self._live("")
        super().file(name, document)
        self.done.append((name, ""))

    def _live(self, entry_type: str) -> None:
        if len(self.done) < self._last:
            return
        if self._torn and entry_type:
            half = b'{"seq": 7, "prev": "00'
            with (self.folder / "ledger.jsonl").open("ab") as file:
                file.write(half)
            self.torn_bytes = len(half)
        raise Killed


def _count() -> int:
    """Count the writes of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        pen = MortalPen(Path(folder), Clock(), sys.maxsize, torn=False)
        write_run(pen, "leak", "passed", HOSTS)
        return len(pen.done)


# The first write is the ledger's first line: before it there is no run.
MOMENTS = _count()


def play(world: World, name: str, moment: int, *, torn: bool) -> Left:
    """Play a run that is killed before one of its writes; the last moment is after all of them."""
    run = world.new_run(name)
    pen = MortalPen(world.runs[run], world.clock, moment + 1, torn=torn)
    with contextlib.suppress(Killed):
        write_run(pen, name, "passed", HOSTS)
    return Left(run, tuple(_lacks(pen)))


def _lacks(pen: MortalPen) -> list[str]:
    """Say what is missing, from what was done."""
    done = {what for what, _ in pen.done}
    lines = [json.loads(line) for line in (pen.folder / "ledger.jsonl").read_bytes().split(b"\n")[:-1]]
    ends = f"the ledger ends with line {len(lines)}, {lines[-1]['type']}, at {lines[-1]['at']}"
    lacks = [f"The ledger's last line is torn: {pen.torn_bytes} bytes of a line that was being written."] * bool(
        pen.torn_bytes
    )
    if "run.started" not in done:
        lacks.append(f"The ledger has no run.started: {ends}.")
    if "run.finished" not in done:
        lacks.append(f"The ledger has no run.finished: the run has no verdict; {ends}.")
    for host in HOSTS:
        lacks += _of_lease(pen, host, {line["type"]: line["at"] for line in lines if line.get("host") == host})
    if "experiment.json" not in done:
        lacks.append("experiment.json is not there: what was played is known by its digest alone.")
    if "journal.json" not in done:
        lacks.append("journal.json is not there: Chaos Toolkit wrote no journal.")
    if "run.started" in done:
        lacks += [
            f"{host} has before.json and no after.json: how the host was left is not recorded."
            for host in HOSTS
            if f"hosts/{host}/after.json" not in done
        ]
    return lacks


def _of_lease(pen: MortalPen, host: str, at: dict[str, str]) -> list[str]:
    """Say how far the lease of a host came."""
    named = f"gpu.memory.leak on {host} (lease-{host}) has no end: "
    if ("lease.clean", host) in pen.done or ("lease.reserved", host) not in pen.done:
        return []
    if ("lease.reverting", host) in pen.done:
        return [f"{named}its undo was asked for at {at['lease.reverting']} and no answer is recorded."]
    if ("lease.active", host) in pen.done:
        return [f"{named}it was in force at {at['lease.active']} and no undo is recorded."]
    return [f"{named}the host was asked for it at {at['lease.reserved']} and no answer is recorded."]
