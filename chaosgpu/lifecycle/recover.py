# SPDX-License-Identifier: Apache-2.0
"""Finish the lifecycle of a run whose controller is gone, from the run's record; again is harmless."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chaosgpu.errors import LedgerBroken
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.deeds import Deed
from chaosgpu.lease.directory import every_run, write_json
from chaosgpu.lease.ledger import entries_of
from chaosgpu.lease.run import Run
from chaosgpu.lifecycle.around import Around
from chaosgpu.lifecycle.course import Course, Life, lives_of
from chaosgpu.lifecycle.found import lines_of_hosts
from chaosgpu.lifecycle.ours import PLAYBOOKS, our_playbooks
from chaosgpu.lifecycle.own import OwnPlaybooks, pending_of
from chaosgpu.lifecycle.plan import BACK, recorded_plan
from chaosgpu.lifecycle.step import Stage

__all__ = ["left_to_do", "unfinished_runs"]

_MARK = "recovered"


class _Resumed(Around):
    """A lifecycle whose ledger may be closed: what became of a host is written beside it."""

    def put_back(self, by: str) -> None:
        """Take the way back, and keep what became of each host."""
        super().put_back(by)
        run = self._stage.course.run
        for back in self.backs if run.directory.is_dir() else ():
            if back.returned or back.quarantined:  # one that is cordoned can still be given back
                what: JsonObject = {"drill": self._stage.course.drill, "said": back.sentence, "restored": back.restored}
                try:
                    write_json(_mark(run.directory, back.host), what)
                except LedgerBroken as error:
                    run.lacks(str(error))


def left_to_do(
    run: Run, *, hosts: Sequence[str] = (), playbooks: str | None = None, give_back: bool = False
) -> list[Deed]:
    """Return what a run's record leaves to be put back: playbooks of a user's own, the lifecycle of its hosts.

    Where there is no record, these hosts are asked what they hold of the run, and `playbooks` is where a site has its
    own.
    `give_back`: also hosts that are as they were and wait for a person to put them back into service.
    """
    if not run.directory.is_dir():
        found = lines_of_hosts(run.id, hosts)
        if not found:
            return []
        folder = our_playbooks({PLAYBOOKS: playbooks}, BACK)
        plan: JsonObject = {"type": "lifecycle.planned", "drill": run.id, "playbooks": str(folder)}
        return _lifecycle(run, [plan, *found], give_back=give_back)
    lines = _lines(run.directory)
    own: list[Deed] = [OwnPlaybooks(run, lines)] if pending_of(lines) else []
    return own + _lifecycle(run, lines, give_back=give_back)


def _lifecycle(run: Run, lines: list[JsonObject], *, give_back: bool) -> list[Deed]:
    drill = run.id
    planned = next((line for line in lines if _is_plan(line, drill)), None)
    if planned is None:
        return []
    lives = _open(run.directory, lines, drill)
    if not lives:
        return []
    packages = planned.get("packages")
    by_host = (
        {host: one for host, one in packages.items() if isinstance(one, dict)} if isinstance(packages, dict) else {}
    )
    course = Course(run, drill, lines, frozenset(lives_of(lines, drill)) - lives.keys())
    stage = Stage(course, recorded_plan(planned), Path(str(planned.get("playbooks"))), by_host)
    return [_Resumed(stage, [*lives], resumed=True, give_back=give_back)]


def unfinished_runs(runs: Path) -> list[str]:
    """Name the runs of a folder whose record leaves a host in the middle of a lifecycle."""
    found = []
    for path in every_run(runs):
        lines = _lines(path)
        lives = _open(path, lines, path.name)
        ended = any(line.get("type") == "run.finished" for line in lines)
        if any(not life.cordoned for life in lives.values()) or (not ended and pending_of(lines)):
            found.append(path.name)
    return found


def _open(directory: Path, lines: Iterable[Mapping[str, JsonValue]], drill: str) -> dict[str, Life]:
    """Return the hosts that are neither back nor in quarantine, nor finished by a recovery after the record's end."""
    return {
        host: life
        for host, life in lives_of(lines, drill).items()
        if not life.settled and not _mark(directory, host).exists()
    }


def _lines(directory: Path) -> list[JsonObject]:
    """Return what is on record; nothing where it cannot be read."""
    try:
        return entries_of(directory)
    except LedgerBroken:
        return []


def _is_plan(line: Mapping[str, JsonValue], drill: str) -> bool:
    return line.get("type") == "lifecycle.planned" and line.get("drill") == drill


def _mark(directory: Path, host: str) -> Path:
    return directory / "hosts" / host / f"{_MARK}.json"
