# SPDX-License-Identifier: Apache-2.0
"""What may happen to leases in any order, and what each event must and must not do; every assertion has its sentence.

What must hold after every one of them stands in `lease_invariants`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from chaosgpu.agent.record import ENDED, LIVE, OPEN
from chaosgpu.agent.store import SLOT_BYTES
from support.lease_invariants import FILES, USERS, Known, LeaseInvariants

if TYPE_CHECKING:
    from chaosgpu.agent.values import JsonObject

__all__ = ["LeaseMachine"]

RUNS = ("r1", "r2")
BREAKS = ("", "", "", "", "undo:fail", "undo:lie", "verify:unverified", "inject:fail")
# An apply has some forty calls that change something, an undo some twelve.
DEATHS = st.one_of(st.just(0), st.integers(1, 45))


class LeaseMachine(LeaseInvariants):
    """Two users, two runs, two files, and as many lease ids as are asked for."""

    @initialize(user=st.sampled_from(USERS), breaks=st.sampled_from(BREAKS), dies_at=DEATHS)
    def begin(self, user: str, breaks: str, dies_at: int) -> None:
        for file in FILES:
            self.write(file, f"well {file}")
        self.arm_one(user=user, again=False, file="x", run="r1", ttl_s=20, breaks=breaks, dies_at=dies_at)

    # ---- what may happen

    @precondition(lambda self: not self.cut_for)
    @rule(
        user=st.sampled_from(USERS),
        again=st.sampled_from((False, False, False, True)),
        file=st.sampled_from(FILES),
        run=st.sampled_from(RUNS),
        ttl_s=st.sampled_from((5, 20)),
        breaks=st.sampled_from(BREAKS),
        dies_at=DEATHS,
    )
    def arm(self, *, user: str, again: bool, file: str, run: str, ttl_s: int, breaks: str, dies_at: int) -> None:
        self.arm_one(user=user, again=again, file=file, run=run, ttl_s=ttl_s, breaks=breaks, dies_at=dies_at)

    @precondition(lambda self: not self.cut_for)
    @rule(user=st.sampled_from(USERS), file=st.sampled_from(FILES))
    def arm_well(self, user: str, file: str) -> None:
        self.arm_one(user=user, again=False, file=file, run="r1", ttl_s=20, breaks="", dies_at=0)

    def arm_one(
        self, *, user: str, again: bool | str, file: str, run: str, ttl_s: int, breaks: str, dies_at: int
    ) -> None:
        """Apply under a new id, or with `again` under one that is used up: any, or the one that it names."""
        self.values += 1
        mine = [again] if isinstance(again, str) else [lease for owner, lease in self.known if owner == user]
        lease = mine[self.values % len(mine)] if again and mine else f"l{self.values}"
        value, cause = f"broken {self.values}", self.folder / f"mended {self.values}"
        params: JsonObject = {"path": str(self.folder / file), "value": value}
        if breaks:
            params.update(breaks=breaks, until=str(cause))
        before, was = self.read(file), self.state(user, lease)
        order: JsonObject = {"lease": lease, "fault": "test.file.set", "params": params, "run": run}
        answer = self.world.ask(user, "apply", dies_at, **order, ttl_s=ttl_s, max_duration_s=60)
        state = self.state(user, lease)
        if was is not None:
            assert "error" in answer or "died" in answer, "an id that is used up was applied again"
            assert self.read(file) != value, "an id that is used up was applied again, and its fault is in force"
            revived = was.state in ENDED and (state is None or state.state not in ENDED)
            assert not revived, "an id that is used up was applied again, and its end is forgotten"
        elif state is not None:
            self.known[user, lease] = Known(file, value, cause if breaks.startswith("undo") else None)
        if self.halts(user):
            assert self.read(file) != value, "a fault was put in on a halted host"
        if answer.get("state") == "active":
            assert self.read(file) == value, "active, and nothing is broken"
            assert self.kept(user, lease), "active, and nobody would end it"
        if "died" in answer and dies_at % 2:
            self.sweep()
        if "error" in answer and self.read(file) == value:
            left = None if state is None else state.state
            assert left == "stuck", "an apply that was refused left its fault"
        if self.read(file) not in (value, before):
            assert self.read(file) == self.legit[file], "an apply that ended another one put back something else"

    @precondition(lambda self: not self.cut_for)
    @rule(which=st.integers(0, 7), ttl_s=st.sampled_from((5, 40)))
    def renew(self, which: int, ttl_s: int) -> None:
        user, lease = self.one(which)
        before = self.state(user, lease)
        over = before is None or before.state != "active" or self.over(user, before)
        [line] = self.lines(self.world.ask(user, "renew", leases=[lease], ttl_s=ttl_s))
        after = self.state(user, lease)
        if over and before is not None:
            assert after is not None, "a renewal lost the record"
            assert (after.state, after.deadline_s) == (before.state, before.deadline_s), (
                "renew revived one that is over"
            )
            if before.state not in LIVE or self.past(before):  # on a halted host the time goes on, and is told
                assert line["expires_in_s"] == 0.0, "a renewal showed time left of one whose time is over"
        elif after is not None and before is not None:
            assert min(after.deadline_s, after.end_s) <= before.end_s, "renew went beyond the hard end"

    @rule(ttl_s=st.sampled_from((5, 40)))
    def come_back_too_late(self, ttl_s: int) -> None:
        """Whoever would have ended them is dead, the deadlines pass, and only then a renewal comes."""
        self.world.keepers.alive.clear()
        self.world.pass_time(41)
        for which in range(len(self.known)):
            self.renew(which, ttl_s)

    @precondition(lambda self: not self.cut_for)
    @rule(which=st.integers(0, 7), dies_at=DEATHS)
    def undo(self, which: int, dies_at: int) -> None:
        user, lease = self.one(which)
        first = self.world.ask(user, "undo", dies_at, lease=lease)
        self.known.setdefault((user, lease), Known())
        if "leases" not in first or self.lines(first)[0]["state"] not in ENDED:
            return
        after = [self.read(file) for file in FILES]
        again = self.world.ask(user, "undo", lease=lease)
        assert again == first, "undo twice is not undo once"
        assert [self.read(file) for file in FILES] == after, "a second undo changed something"
        self.arm_one(user=user, again=lease, file="x", run="r1", ttl_s=20, breaks="", dies_at=0)

    @rule(seconds=st.sampled_from((1, 6, 30, 90)))
    def wait(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule(user=st.sampled_from(USERS), dies_at=DEATHS)
    def sweep_and_die(self, user: str, dies_at: int) -> None:
        self.world.ask(user, "sweep", dies_at)

    @rule()
    def sweep(self) -> None:
        """After it nothing of ours is left of whatever is over, except where we had to give up and said so."""
        for user in USERS:
            self.lines(self.world.ask(user, "sweep"))
        for (user, lease), known in self.known.items():
            state = self.state(user, lease)
            if state is None:
                continue
            if state.state in ("reserved", *LIVE):
                assert not self.over(user, state), "a lease that is over outlived a sweep"
                assert state.state == "active", "an apply that died outlived a sweep"
                assert self.kept(user, lease), "a sweep left a lease that nobody would end"
            elif state.state == "stuck":
                assert known.damaged or known.cause or known.fell_back, f"stuck without a cause: {state.reason}"
            else:
                assert state.state in ENDED, f"a sweep left a lease {state.state}"

    @rule()
    def tend_at_boot(self) -> None:
        self.world.reboot(keeps_boot_id=True)
        self.sweep()

    @rule(keeps_boot_id=st.booleans())
    def reboot(self, keeps_boot_id: bool) -> None:
        self.world.reboot(keeps_boot_id=keeps_boot_id)

    @rule()
    def kill_keepers(self) -> None:
        self.world.keepers.alive.clear()

    @rule(events=st.integers(1, 4))
    def partition(self, events: int) -> None:
        self.cut_for = events + 1

    @precondition(lambda self: self.cut_for > 0)
    @rule()
    def heal(self) -> None:
        self.cut_for = 0

    @rule(user=st.sampled_from(USERS), by_file=st.booleans(), stays=st.sampled_from((False, False, True)))
    def halt(self, user: str, by_file: bool, stays: bool) -> None:
        if by_file:
            (self.folder / "HALT").write_text("")
            self.halted = True
            self.sweep()
        else:
            self.lines(self.world.ask(user, "halt", by="me", reason="pager"))
        self.arm_one(user=user, again=False, file="x", run="r1", ttl_s=20, breaks="", dies_at=0)
        if not stays:
            self.resume()

    @rule()
    def resume(self) -> None:
        for user in USERS:
            assert "was" in self.world.ask(user, "resume", by="me", reason="settled"), "a resume was refused"
        self.halted = False

    @rule(file=st.sampled_from(FILES))
    def a_person_changes(self, file: str) -> None:
        self.values += 1
        self.write(file, f"a person's {self.values}")

    @precondition(lambda self: bool(self.known))
    @rule(which=st.integers(0, 7))
    def mend_the_cause(self, which: int) -> None:
        user, lease = self.one(which % len(self.known))
        known = self.known[user, lease]
        if known.cause is not None:
            known.cause.write_text("")
            known.cause = None
            self.world.ask(user, "undo", lease=lease)

    @precondition(lambda self: bool(self.known))
    @rule(
        which=st.integers(0, 7),
        part=st.sampled_from(("undo", "undo", "undo", "state", "state", "both")),
        place=st.floats(0, 1, exclude_max=True),
        flip=st.sampled_from((0, 1, 2, 4, 8, 16, 32, 128)),
        look=st.booleans(),
    )
    def damage(self, *, which: int, part: str, place: float, flip: int, look: bool) -> None:
        """Change one byte of the undo record or of the newest state, or (`flip` 0) cut it off; or wipe both states."""
        open_ones = [key for key in self.known if (state := self.state(*key)) and state.state in OPEN]
        user, lease = open_ones[which % len(open_ones)] if open_ones else self.one(which % len(self.known))
        known = self.known[user, lease]
        path = Path(self.folder / user / "leases" / lease / ("undo" if part == "undo" else "state"))
        if not path.exists() or known.damaged or known.fell_back:
            return
        raw = bytearray(path.read_bytes())
        ended = self.state(user, lease)
        assert ended is not None, "a lease with a record is not seen"
        self.world.changes += 1
        if part == "undo":
            known.damaged = ended.state not in ENDED
            at = int(place * len(raw))
        elif part == "both":
            known.damaged = True
            path.write_bytes(b"\xff" * len(raw))
            return
        else:
            start, length = newest_slot(raw)
            known.fell_back = True
            at = start + int(place * length)
        if flip:
            raw[at] ^= flip
            path.write_bytes(raw)
        elif part == "undo":
            path.write_bytes(raw[:at])
        else:
            path.write_bytes(raw[:at] + b"\0" * (len(raw) - at))
        if look and known.damaged:
            self.look_at_the_damaged()

    @precondition(lambda self: any(known.damaged for known in self.known.values()))
    @rule()
    def look_at_the_damaged(self) -> None:
        """Never executed, whoever asks; shown by `list` with what to do by hand, and its claims stay."""
        for (user, lease), known in self.known.items():
            if not known.damaged:
                continue
            before = [self.read(file) for file in FILES]
            [line] = self.lines(self.world.ask(user, "undo", lease=lease))
            assert line["state"] == "stuck", "a damaged record was executed"
            # Before `list`, which rightly ends others whose time is over.
            assert [self.read(file) for file in FILES] == before, "a damaged record was executed, and changed something"
            assert "not executed" in str(line["reason"]), "a damaged record was executed, and failed"
            [shown] = [one for one in self.lines(self.world.ask(user, "list")) if one["lease"] == lease]
            assert "By hand" in str(shown["reason"]), "a damaged record is shown without what to do by hand"
            if self.read(known.file or FILES[0]) == known.value:
                assert self.claimed(user, lease, known.file), "a damaged lease lost its claim"


def newest_slot(raw: bytes | bytearray) -> tuple[int, int]:
    """Return where the newest state is written, and how long it is."""
    heads = []
    for start in (0, SLOT_BYTES):
        head, _, body = bytes(raw[start : start + SLOT_BYTES]).partition(b"\n")
        if body:
            heads.append((int(head.split(b" ")[2]), start, len(head) + 1 + len(body.rstrip(b"\0"))))
    _, start, length = max(heads)
    return start, length
