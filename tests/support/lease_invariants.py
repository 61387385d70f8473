# SPDX-License-Identifier: Apache-2.0
"""What must hold of leases whatever happened to them before; `lease_machine` makes it happen.

The machine knows what a person wrote last into each file and which value each lease would write, so it can tell by the
file alone whether a fault is in force, was put back, or a person's change was lost. It reads records with the methods
as they were when it was loaded, and counts the time itself: a mistake that is planted later deceives it less.
"""

import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine, invariant

from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.record import ENDED, LIVE, State
from chaosgpu.agent.values import JsonObject
from support.lease_world import World

__all__ = ["FILES", "USERS", "Known", "LeaseInvariants"]

USERS, FILES = ("ann", "bob"), ("x", "y")
NEXT = {
    "reserved": {"armed", "reverting"},
    "armed": {"active", "reverting"},
    "active": {"reverting"},
    "reverting": {"clean", "stuck"},
    "stuck": {"reverting"},
    "clean": set[str](),
    "tombstone": set[str](),
}
_seen = LeaseFolder.seen


@dataclass
class Known:
    """What the machine knows of one lease, whatever the record says."""

    file: str = ""
    value: str = ""
    cause: Path | None = None  # its undo fails or lies as long as this is not there
    damaged: bool = False  # one byte of its record is not as written
    fell_back: bool = False  # its newest state is damaged, and the one before counts
    ended: bool = False


class LeaseInvariants(RuleBasedStateMachine):
    """One host, what is known of its leases, and what must hold after every event."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="leases-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108 (syncs cost nothing there)
        self.world = World(self.folder)
        self.known: dict[tuple[str, str], Known] = {}
        self.states: dict[tuple[str, str], tuple[int, State | None]] = {}
        self.legit: dict[str, str] = {}
        self.values = 0
        self.cut_for = 0  # so many more events
        self.halted = False

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # ---- what must hold

    @invariant()
    def what_is_there_is_a_persons_or_an_open_leases(self) -> None:
        for file, legit in self.legit.items():
            found = self.read(file)
            if found == legit:
                continue
            owners = [key for key, known in self.known.items() if known.value == found and known.file == file]
            assert owners, f"{file} holds {found}, and a person wrote {legit}"
            user, lease = owners[0]
            state = self.state(user, lease)
            assert state is not None, f"the fault of lease {lease} is in force and it has no record"
            assert state.state not in ENDED, f"lease {lease} has ended and its fault is in force"
            assert state.state != "reserved", "the fault was there before its undo was armed"
            assert self.claimed(user, lease, file), "a fault is in force and its claim is not held"

    @invariant()
    def time_heals(self) -> None:
        self.cut_for = max(0, self.cut_for - 1)

    @invariant()
    def at_most_one_lease_works_on_a_file(self) -> None:
        for file in FILES:
            path = f"file:{self.folder / file}"
            at_it = [key for key in self.known if (s := self.state(*key)) and s.state in LIVE and path in s.claims]
            sound = [key for key in at_it if not self.known[key].fell_back]
            assert len(sound) <= 1, f"{file} is held by {sound}"

    @invariant()
    def a_lease_is_armed_after_its_undo_record(self) -> None:
        for user, lease in self.known:
            state = self.state(user, lease)
            if state is not None and any(line["state"] == "armed" for line in state.history):
                undo = self.folder / user / "leases" / lease / "undo"
                assert undo.exists(), "armed, and its undo record is not on disk"

    @invariant()
    def a_lease_that_has_ended_stays_so(self) -> None:
        for key, known in self.known.items():
            state = self.state(*key)
            has = state is not None and state.state in ENDED
            assert has or not known.ended or known.damaged or known.fell_back, f"{key} was revived"
            known.ended = has and not known.fell_back

    @invariant()
    def the_history_explains_the_state(self) -> None:
        for key, known in self.known.items():
            state = self.state(*key)
            if state is None or known.damaged or known.fell_back:
                continue
            states = [str(line["state"]) for line in state.history]
            assert states[-1] == state.state, "the history does not end with the state"
            assert states[0] in ("reserved", "tombstone"), f"a history begins with {states[0]}"
            if len(states) < 16:  # longer ones have lost their middle
                assert all(after in NEXT[before] for before, after in pairwise(states)), f"no lease goes so: {states}"
            if state.state in ("clean", "reverting", "stuck"):
                assert state.ended_by, "nobody ended it"

    # ---- how it looks

    def read(self, file: str) -> str:
        return (self.folder / file).read_text()

    def write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text)
        self.legit[file] = text

    def one(self, which: int) -> tuple[str, str]:
        """Return the newest leases oftener than the old ones, or one that nobody knows."""
        newest = list(reversed(self.known))
        return newest[which] if which < len(newest) else (USERS[which % 2], f"unknown{which}")

    def state(self, user: str, lease: str) -> State | None:
        seen = self.states.get((user, lease))
        if seen is None or seen[0] != self.world.changes:
            folder = LeaseFolder(Home(str(self.folder / user), limited=True), lease, self.world.clock)
            seen = self.states[user, lease] = (self.world.changes, _seen(folder))
        return seen[1]

    def halts(self, user: str) -> bool:
        """Tell whether the host is halted for this user: by the file of the host, or by a halt of their own."""
        return self.halted or (self.folder / user / "HALT").exists()

    def over(self, user: str, state: State) -> bool:
        return self.halts(user) or self.past(state)

    def past(self, state: State) -> bool:
        """Tell whether its time is over, whatever else ends it."""
        return state.boot != self.world.boot or self.world.clock.now_s >= min(state.deadline_s, state.end_s)

    def kept(self, user: str, lease: str) -> bool:
        return f"{self.folder / user}/leases/{lease}" in self.world.keepers.alive

    def claimed(self, user: str, lease: str, file: str) -> bool:
        path = Path(self.world.host(user).claims.path(f"file:{self.folder / file}"))
        return path.exists() and f'"lease": "{lease}", "home": "{self.folder / user}"' in path.read_text()

    @staticmethod
    def lines(answer: JsonObject) -> list[JsonObject]:
        found = answer.get("leases")
        assert isinstance(found, list), f"a verb did not answer with leases: {answer}"
        return [line for line in found if isinstance(line, dict)]
