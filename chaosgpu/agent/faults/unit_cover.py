# SPDX-License-Identifier: Apache-2.0
"""A library's file mounted over another one in one unit alone: what covers what, and whether it is in force there.

systemd mounts it in the unit's own mount namespace: the host's file is never touched, and nothing is left to unmount.
"""

import os
from dataclasses import dataclass
from typing import List, Sequence

from chaosgpu.agent import values
from chaosgpu.agent.errors import NoEffect, Refused
from chaosgpu.agent.faults.unit_library import LibraryFile, family_of, identity_of, loaded, take
from chaosgpu.agent.faults.unit_life import Life
from chaosgpu.agent.faults.unit_state import UnitState, members
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["Cover", "covers_for", "covers_in", "how", "may_have_ours", "own_files"]


@dataclass(frozen=True)
class Cover:
    """A library's file, and the one that it covers in the unit."""

    file: LibraryFile
    over: str

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Cover":
        """Read it back from the lease's record."""
        return cls(LibraryFile.from_json(values.mapping(source, "file")), values.text(source, "over"))

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {"file": self.file.to_json(), "over": self.over}

    @property
    def line(self) -> str:
        """Return the line of a unit's file that has systemd mount it."""
        return f"BindReadOnlyPaths={self.file.path}:{self.over}"

    def seen_by(self, pid: int) -> bool:
        """Tell whether a process finds our file at that path."""
        return self.file.is_at(f"/proc/{pid}/root{self.over}")


def own_files(state: UnitState, files: Sequence[str]) -> List[str]:
    """Return what the unit's processes have loaded of the families of these files, and that can be covered.

    NoEffect where one family is not loaded; Refused where the unit sees another file there than the host does.
    """
    found = loaded(state, [family_of(path) for path in files])
    gone = [one.path for one in found if one.deleted]
    if gone:
        raise Refused(f"{state.id} runs on {gone[0]}, which was replaced on the disk: restart it first.")
    for path in files:
        if not any(family_of(one.path) == family_of(path) for one in found):
            raise NoEffect(
                f"No process of {state.id} has {family_of(path)} loaded now, so {path} would cover nothing: leave it "
                "out, or ask when the service has answered a request."
            )
    for one in found:
        theirs = identity_of(f"/proc/{one.pid}/root{one.path}")
        if theirs != identity_of(one.path) or os.path.realpath(one.path) != one.path:
            raise Refused(
                f"{one.path} is another file for process {one.pid} of {state.id} than for this host: a unit with a "
                "root of its own is not reached. Nothing was touched."
            )
    return sorted({one.path for one in found})


def covers_for(state: UnitState, files: Sequence[str]) -> List[Cover]:
    """Say which of these files is to cover which of the unit's."""
    taken = {family_of(path): take(path) for path in files}
    return [Cover(taken[family_of(path)], path) for path in own_files(state, files)]


def covers_in(prior: JsonMapping) -> List[Cover]:
    """Read them back from the lease's record."""
    listed = prior.get("covers")
    return [Cover.from_json(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def how(life: Life, covers: Sequence[Cover]) -> str:
    """Say how they are in force: `loaded` by a process, the unit `ended` on them, `covered` for who would load them.

    Empty where they are not, or nobody can tell.
    """
    state = life.now()
    if life.same_start(state):
        return ""
    pids = [who.pid for who in members(state)]
    found = {(cover.over, pid) for cover in covers for pid in pids if cover.seen_by(pid)}
    families = [family_of(cover.over) for cover in covers]
    if any((one.path, one.pid) in found for one in loaded(state, families)):
        return "loaded"
    if not state.active and not state.was_asked_to_stop and state.main_process() is None:
        return "ended"
    return "covered" if found else ""


def may_have_ours(state: UnitState, covers: Sequence[Cover]) -> bool:
    """Tell whether it runs on ours; a start whose process is not there yet or any more counts as ours."""
    pids = [who.pid for who in members(state)]
    return not pids or any(cover.seen_by(pid) for cover in covers for pid in pids)
