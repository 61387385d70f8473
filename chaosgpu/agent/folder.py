# SPDX-License-Identifier: Apache-2.0
"""One lease's folder: its state, its undo record, its locks, its holder's report."""

import contextlib
import json
import os
from dataclasses import replace
from typing import Any, Optional

from chaosgpu.agent import by_hand
from chaosgpu.agent.clock import Clock, rfc3339
from chaosgpu.agent.errors import StoreFailed
from chaosgpu.agent.faults.contract import Held
from chaosgpu.agent.hold import REPORT
from chaosgpu.agent.home import Home
from chaosgpu.agent.lock import Lock, held
from chaosgpu.agent.process import Identity, alive
from chaosgpu.agent.record import ENDED, State, Undo
from chaosgpu.agent.store import SLOT_BYTES, Damaged, Slots, read_document, write_document
from chaosgpu.agent.values import JsonObject

__all__ = ["LeaseFolder"]

_LOCK_WAIT_S = 10.0
_LARGEST_RESULT_BYTES = SLOT_BYTES // 4


class LeaseFolder:
    """What is on disk for one lease. Whoever changes it holds `lock`; reading needs none."""

    def __init__(self, home: Home, lease: str, clock: Clock) -> None:
        self.lease = lease
        self.home = home
        self.path = home.folder(lease)
        self._clock = clock
        self._slots = Slots(self.path, "state")

    def make(self) -> None:
        """Make the folder; it may be there already."""
        self.home.make_folder(self.lease)

    def lock(self, wait_s: float = _LOCK_WAIT_S) -> Lock:
        """Return the lock under which the state moves; all who undo, renew or apply take it in turn."""
        busy = f"Lease {self.lease} is being worked on by another process since {wait_s:g} s; ask again."
        return Lock(f"{self.path}/lock", self._clock, wait_s, busy)

    def apply_lock(self) -> Lock:
        """Return the sign of life of the one who applies it: if it is free, an apply that is not done has died."""
        return Lock(f"{self.path}/apply.lock", self._clock, 0.0, f"Lease {self.lease} is being applied already.")

    def keeper_lock(self, wait_s: float = 0.0) -> Lock:
        """Return the keeper's sign of life."""
        return Lock(f"{self.path}/keeper.lock", self._clock, wait_s, f"Lease {self.lease} has a keeper already.")

    def being_applied(self) -> bool:
        """Tell whether the process that applies it still lives."""
        return held(f"{self.path}/apply.lock")

    def kept(self) -> bool:
        """Tell whether its keeper lives."""
        return held(f"{self.path}/keeper.lock")

    def state(self) -> Optional[State]:
        """Return its state; None where there is no such lease, Damaged where it cannot be trusted."""
        found = self._slots.read()
        return None if found is None else State.from_json(found[1])

    def seen(self) -> Optional[State]:
        """Return its state for showing; damage is shown as stuck, with what to do by hand."""
        state: Optional[State] = None
        try:
            state = self.state()
            self.trusted_undo(state)
        except Damaged as error:
            return self.damaged(error, state)
        return state

    def damaged(self, error: Damaged, state: Optional[State]) -> State:
        """Return the state of a lease whose record cannot be trusted: stuck, and nothing of it is executed."""
        return replace(
            state or State("stuck"),
            state="stuck",
            reason=by_hand.about_damage(error, self.path, self.lease),
        )

    def create(self, state: State) -> None:
        """Lay out the space for every later state and write the first."""
        self._slots.create(state.to_json())

    def save(self, state: State) -> None:
        """Write the next state, durable when this returns."""
        body = state.to_json()
        for key in ("observed", "restored"):
            size = len(json.dumps(body[key]))
            if size > _LARGEST_RESULT_BYTES:
                body[key] = {"too_large_bytes": size}
        self._slots.write(body)

    def move(
        self, state: State, to: str, ended_by: Optional[str] = None, reason: Optional[str] = None, **changes: Any
    ) -> State:
        """Write the state with these changes, stamped with the host's clocks, and return it."""
        changed = replace(state, **changes)
        moved = changed.moved(to, self._clock.boottime_s(), rfc3339(self._clock.wall_s()), ended_by, reason)
        self.save(moved)
        return moved

    def stamped(self, state: State) -> State:
        """Return a first state with its own line of history."""
        return state.moved(state.state, self._clock.boottime_s(), rfc3339(self._clock.wall_s()), None, state.reason)

    def write_undo(self, undo: Undo) -> None:
        """Make the undo record durable."""
        write_document(self.path, "undo", undo.to_json())

    def undo_record(self) -> Optional[Undo]:
        """Return the undo record; None before there is one, Damaged where one byte is not as written."""
        found = read_document(self.path, "undo")
        return None if found is None else Undo.from_json(found)

    def trusted_undo(self, state: Optional[State]) -> Optional[Undo]:
        """Return what may be executed for a lease in this state: nothing once it has ended.

        Damaged also where it is another lease's, or is gone: no lease is armed without one.
        """
        if state is None or state.state in ENDED:
            return None
        undo = self.undo_record()
        if undo is None and any(line.get("state") == "armed" for line in state.history):
            raise Damaged(f"The undo record of lease {self.lease} is gone.")
        if undo is not None and undo.lease != self.lease:
            raise Damaged(f"The undo record in {self.path} is that of another lease, {undo.lease}.")
        return undo

    def held(self, holder: Optional[Identity]) -> Optional[Held]:
        """Return the holder with its last report, None where there is none."""
        if holder is None:
            return None
        return Held(holder.pid, holder.start_time, alive(holder), self.report() or {})

    def report(self) -> Optional[JsonObject]:
        """Return the holder's last report, None before the first."""
        try:
            with open(f"{self.path}/{REPORT}", encoding="utf-8") as file:  # noqa: PTH123 (pathlib costs 9 ms)
                found = json.load(file)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreFailed(f"The holder's report in {self.path} cannot be read: {error}.") from error
        return found if isinstance(found, dict) else {}

    def tidy(self) -> None:
        """Remove what a killed process had begun to write; only with the lock held and the holder ended."""
        with contextlib.suppress(OSError):  # litter is no reason for an undo to fail
            for name in os.listdir(self.path):  # noqa: PTH208 (pathlib costs 9 ms)
                if name.endswith(".new"):
                    os.unlink(f"{self.path}/{name}")  # noqa: PTH108 (as above)

    def forget_report(self) -> None:
        """Remove a report of an earlier try, so that nobody takes it for this one's."""
        try:
            os.unlink(f"{self.path}/{REPORT}")  # noqa: PTH108 (pathlib costs 9 ms)
        except FileNotFoundError:
            return
