# SPDX-License-Identifier: Apache-2.0
"""Bringing a unit back: start or restart it, wait until it is up and stays up, and tell who else had a hand in it."""

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.clock import Boot, current_boot
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.contract import Context, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.unit_state import UnitState, host_is_starting, look_at, start_is_queued
from chaosgpu.agent.process import alive
from chaosgpu.agent.store import sync_folder
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["Before", "Life", "back_within", "mark", "marked", "note", "refuse_company", "request_restart"]

BACK_WITHIN_S = 30.0
STAYS_S = 0.5  # one that is up and gone at once is not back
_STEP_S = 0.1
_OURS = "started"


@dataclass(frozen=True)
class Before:
    """The unit as it was captured: which start of it this was."""

    unit: str
    invocation: str
    has_main: bool
    boot_id: str
    init_start: int

    @classmethod
    def of(cls, state: UnitState) -> "Before":
        """Note it from a unit that is active."""
        boot = current_boot()
        invocation = state.text("InvocationID") or "unknown"
        return cls(state.id, invocation, state.main_pid > 0, boot.boot_id, boot.init_start)

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Before":
        """Read it back from the lease's record."""
        return cls(
            values.text(source, "unit"),
            values.text(source, "invocation"),
            values.flag(source, "has_main", default=False),
            values.text(source, "boot_id"),
            values.whole(source, "init_start", 0, 1 << 62),
        )

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {**asdict(self)}

    def in_this_boot(self) -> bool:
        """Tell whether the host has not been started anew since."""
        return current_boot() == Boot(self.boot_id, self.init_start)


@dataclass(frozen=True)
class Life:
    """One unit that was active before the fault, and how it gets there again.

    systemd forgets a unit that is down without an error and that no other names, and with it whether that was asked
    for. `forgotten_is_stopped` says whether the fault itself could not have left it so.
    """

    before: Before
    within_s: float
    systemd: Systemd
    context: Context
    forgotten_is_stopped: bool = True

    def now(self) -> UnitState:
        """Look at it."""
        return look_at(self.systemd, self.before.unit)

    def same_start(self, state: UnitState) -> bool:
        """Tell whether it still runs as it was captured, never having been down."""
        return state.text("InvocationID") == self.before.invocation

    def start(self) -> None:
        """Have it started; a failure that systemd remembers, also one of starting too often, is forgotten first."""
        note(self.context, _OURS)
        self._forget_failure(self.now())
        self.systemd.ask("start", "--no-block", "--", self.before.unit)

    def restart(self) -> None:
        """Have it restarted, likewise."""
        note(self.context, _OURS)
        request_restart(self.systemd, self.now())

    def come_back(self) -> bool:
        """Wait until it is up and stays up, within the deadline; one that waits for the host's own start will do."""
        if wait_until(lambda: self._up() or self._waits_for_the_hosts_start(), self.within_s, _STEP_S, self.context):
            if not self.now().active:
                return True
            self.context.clock.sleep(STAYS_S)
            return self._up()
        return False

    def revive(self) -> None:
        """Start it where the fault or a reboot has taken it down; one that somebody stopped stays so."""
        state = self.now()
        if state.down and not self._stopped_by_somebody(state):
            self.start()

    def settled(self) -> Restored:
        """See it up, by whoever's hand, or stopped by somebody's."""
        return self.left_stopped() or self.restored(comes_by_itself=True)

    def restored(self, *, comes_by_itself: bool = False) -> Restored:
        """See it up; one that somebody else has started meanwhile is left alone and named."""
        back = self.come_back()
        state = self.now()
        left_alone: Tuple[str, ...] = ()
        if back and not self.same_start(state) and not self._noted() and not comes_by_itself:
            left_alone = (f"{self.before.unit} was started by somebody else meanwhile; that was left alone",)
        return Restored(back, self._shown(state), left_alone, "" if back else self.by_hand(state))

    def left_stopped(self) -> Optional[Restored]:
        """Return what is told of a unit that somebody has stopped meanwhile and that stays so; None of any other."""
        state = self.now()
        if not self._stopped_by_somebody(state):
            return None
        said = (
            f"{self.before.unit} was stopped by somebody meanwhile, or ended without an error; it was not started again"
        )
        return Restored(clean=True, values=self._shown(state), left_alone=(said,))

    def by_hand(self, state: UnitState) -> str:
        """Say what to do where it is not back."""
        shown = "/".join(filter(None, map(state.text, ("ActiveState", "SubState", "Result"))))
        return (
            f"{self.before.unit} is {shown} and was active before: see `journalctl -u {self.before.unit}`, mend it, "
            f"then `systemctl reset-failed {self.before.unit}` and `systemctl start {self.before.unit}`."
        )

    def _stopped_by_somebody(self, state: UnitState) -> bool:
        if not state.down or state.has_job or state.failed or self._noted() or not self.before.in_this_boot():
            return False
        if state.whole("ActiveExitTimestampMonotonic") == 0:
            return self.forgotten_is_stopped
        return state.was_asked_to_stop

    def _shown(self, state: UnitState) -> JsonObject:
        return {
            "active_state": state.text("ActiveState"),
            "sub_state": state.text("SubState"),
            "main_pid": state.main_pid,
            "restarts": state.whole("NRestarts"),
        }

    def _up(self) -> bool:
        state = self.now()
        if state.failed and state.text("Result") == "start-limit-hit" and self._noted():
            self.start()
            return False
        main = state.main_process()  # PID 1 may not have seen yet that it has ended
        return state.active and not state.has_job and (not self.before.has_main or (main is not None and alive(main)))

    def _waits_for_the_hosts_start(self) -> bool:
        """Tell whether PID 1 will start it as soon as we, who run before it at boot, have ended."""
        return host_is_starting(self.systemd) and start_is_queued(self.systemd, self.before.unit)

    def _forget_failure(self, state: UnitState) -> None:
        if state.failed:
            self.systemd.ask("reset-failed", "--", self.before.unit)

    def _noted(self) -> bool:
        return marked(self.context, _OURS)


def mark(context: Context, what: str) -> None:
    """Leave word in the lease's folder, durable, of what we are about to do to the unit."""
    if context.lease_dir is not None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        os.close(os.open(f"{context.lease_dir}/unit-{what}", flags, 0o600))
        sync_folder(context.lease_dir)


def note(context: Context, what: str) -> None:
    """Leave the same word in an undo: a disk that takes it no more must not keep the fault in force."""
    with contextlib.suppress(OSError):
        mark(context, what)


def marked(context: Context, what: str) -> bool:
    """Tell whether we were about to do it, now or in a process that has died since."""
    return os.path.exists(f"{context.lease_dir}/unit-{what}")  # noqa: PTH110 (pathlib costs 9 ms at start)


def request_restart(systemd: Systemd, state: UnitState) -> None:
    """Have a unit restarted, without waiting for it."""
    if state.failed:
        systemd.ask("reset-failed", "--", state.id)
    systemd.ask("restart", "--no-block", "--", state.id)


def back_within(raw: JsonMapping) -> float:
    """Read `back_within_s`: how long the unit may take to be there again."""
    return values.number({"back_within_s": raw.get("back_within_s", BACK_WITHIN_S)}, "back_within_s", 1, 600)


def refuse_company(state: UnitState, systemd: Systemd) -> None:
    """Refuse a unit that nobody may stop or start, that takes others down with it, or that others start behind us."""
    if state.text("CanStop") == "no" or state.text("CanStart") == "no":
        raise Refused(f"systemd does not let anybody stop and start {state.id} by hand; nothing was touched.")
    needing = {name for kind in ("RequiredBy", "BoundBy", "ConsistsOf") for name in state.words(kind)}
    with_it = sorted(name for name in needing if not name.endswith(".target") and look_at(systemd, name).active)
    if with_it:
        raise Refused(f"With {state.id} these units would go down, too: {', '.join(with_it)}. Nothing was touched.")
    waking = sorted(name for name in state.words("TriggeredBy") if look_at(systemd, name).active)
    if waking:
        raise Refused(f"{', '.join(waking)} would start {state.id} again behind us: stop that first.")
