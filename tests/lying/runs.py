# SPDX-License-Identifier: Apache-2.0
"""Play one run in a world, lying or honest, with the real engine, guard, agent and simulator, and say how it ended."""

import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chaoslib.experiment import run_experiment

from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports import Reply, Transport
from lying.deeds import Midway
from lying.forker import Forker
from lying.honest import restlessness
from lying.sabotage import SABOTAGES
from lying.world import ACTIONS, FAULTS, World, made
from support.chaos import GUARD, UNDO_ALL, python

_NO_VERDICT = "none"
_ROOM = Path("/dev/shm")  # noqa: S108 (what is synced to memory is synced fast)


@dataclass(frozen=True)
class Lie:
    """One sabotaged run that is planned, or an honest one."""

    number: int
    sabotage: str | None
    fault: str

    @property
    def key(self) -> str:
        return f"{self.number}/{self.sabotage or 'honest'}/{self.fault}"


@dataclass(frozen=True)
class Told:
    """How it ended."""

    verdict: str
    reason: str
    right: bool
    changed: bool  # whether the GPUs are not as they were before the run


def sabotaged(count: int) -> list[Lie]:
    """Plan so many sabotaged runs: each sabotage on each of its faults in turn."""
    pairs = [(sabotage.name, fault) for sabotage in SABOTAGES for fault in sabotage.faults]
    return [Lie(number, *pairs[number % len(pairs)]) for number in range(count)]


def honest(count: int) -> list[Lie]:
    """Plan so many runs in which nothing is wrong."""
    return [Lie(number, None, FAULTS[number % len(FAULTS)]) for number in range(count)]


class _Switched:
    """The transport of the moment: a sabotage may change it while the run goes on."""

    def __init__(self, world: World) -> None:
        self._world = world

    def command_of(self, host: str) -> tuple[str, ...] | None:
        return self._world.transport().command_of(host)

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        return self._world.transport().carry(host, verb, document, timeout_s)


def sample() -> list[Lie]:
    """Plan every third sabotage on one of its faults, in turn, and some faults in an honest world."""
    lies = [Lie(number, one.name, one.faults[number % len(one.faults)]) for number, one in enumerate(SABOTAGES)]
    return lies[2::3] + honest(len(FAULTS))[::2]


def play(lie: Lie, folder: Path, forker: Forker) -> Told:
    """Play it and return the verdict."""
    sabotage = next((one for one in SABOTAGES if one.name == lie.sabotage), None)
    draw = random.Random(lie.key)
    missing = [sabotage.missing(lie.fault)] if sabotage is not None and sabotage.missing is not None else []
    with made(folder / "world", lie.fault, draw, forker, missing) as world:
        before = world.sim.settings()
        if sabotage is None:
            restlessness(world)
        elif sabotage.before is not None:
            sabotage.before(world)
        midway = None if sabotage is None else sabotage.midway
        Midway.deed = (lambda: None) if midway is None else _on(midway, world)
        journal = _run(folder, world, _Switched(world))
        found = journal.get("chaosgpu", {})
        verdict, reason = str(found.get("verdict") or _NO_VERDICT), str(found.get("reason"))
        right = verdict == "passed" if sabotage is None else verdict in sabotage.leaves
        return Told(verdict, reason, right, _stable(world.sim.settings()) != _stable(before))


def play_all(lies: list[Lie]) -> list[tuple[Lie, Told]]:
    """Play several in this process, each in a folder of its own."""
    with TemporaryDirectory(dir=_ROOM if _ROOM.is_dir() else None, ignore_cleanup_errors=True) as folder:
        forker = Forker(Path(folder))
        try:
            told = []
            for number, lie in enumerate(lies):
                own = Path(folder) / str(number)
                own.mkdir()
                told.append((lie, play(lie, own, forker)))
            return told
        finally:
            forker.end()


def _on(midway: Callable[[World], None], world: World) -> Callable[[], None]:
    return lambda: midway(world)


def _run(folder: Path, world: World, transport: Transport) -> dict[str, Any]:
    action = python(ACTIONS[world.fault], ACTIONS[world.fault], module="chaosgpu.gpu.actions", **world.arguments)
    probe = python("it holds", "holds", kind="probe", module="lying.deeds")
    experiment: dict[str, Any] = {
        "title": "one run of the lying world",
        "description": "none of it may pass",
        "controls": [GUARD],
        "steady-state-hypothesis": {"title": "it holds", "probes": [{**probe, "tolerance": True}]},
        "method": [action, python("midway", "strike", module="lying.deeds")],
        "rollbacks": [UNDO_ALL],
    }
    here = Path.cwd()
    os.chdir(folder)
    logging.getLogger("chaostoolkit").setLevel(logging.CRITICAL)
    try:
        with use_transport(transport):
            journal: dict[str, Any] = run_experiment(experiment)
    finally:
        os.chdir(here)
    return journal


def _stable(settings: Any) -> dict[str, Any]:
    """Return the first GPU's settings; the background changes the other one, and the load, on purpose."""
    return {key: value for key, value in settings[0].items() if key in _SET}


_SET = ("power_limit_mw", "compute_mode", "persistence_mode", "sm_lock_min_mhz", "sm_lock_max_mhz")
