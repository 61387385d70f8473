# SPDX-License-Identifier: Apache-2.0
"""A unit that is down while something of it is changed, there and back, and whose doing it is that it is down.

The fault's own doing, from before its stop until it has started the unit; then the undo's, from before its own stop.
The marks are in the lease's folder, durable, so that whoever comes after one who was killed starts it all the same.
"""

from dataclasses import dataclass

from chaosgpu.agent.errors import Unanswered, Unverified
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.unit_life import Life, mark, marked, note
from chaosgpu.agent.faults.unit_state import host_is_starting, members, start_is_queued

__all__ = ["DOWN_WITHIN_S", "Pause"]

DOWN_WITHIN_S = 20.0
_STEP_S = 0.1
_STOPPED, _STARTED, _STOPPED_AGAIN = "pause-begun", "pause-over", "pause-again"


@dataclass(frozen=True)
class Pause:
    """One unit that was active before."""

    life: Life

    @property
    def unit(self) -> str:
        """Return its name."""
        return self.life.before.unit

    @property
    def has_started(self) -> bool:
        """Tell whether the fault came to where the unit was started anew."""
        return marked(self.life.context, _STARTED)

    def stop(self) -> None:
        """Stop it for the fault; Unverified where it is not down in time."""
        mark(self.life.context, _STOPPED)
        if not self._comes_down(DOWN_WITHIN_S):
            raise Unverified(
                f"{self.unit} was told to stop and is {self._how()} after {DOWN_WITHIN_S:g} s (see TimeoutStopSec=): "
                "nothing more was done to it."
            )

    def start(self) -> None:
        """Start it for the fault, whatever becomes of it; from here on one that is down was not left so by us."""
        state = self.life.now()
        if state.failed:
            self.life.systemd.ask("reset-failed", "--", self.unit)
        self.life.systemd.ask("start", "--no-block", "--", self.unit)
        mark(self.life.context, _STARTED)

    def settle(self, within_s: float) -> None:
        """Wait until it has come to where it stays: up, down, or started by systemd again and again."""

        def stays() -> bool:
            state = self.life.now()
            return state.text("SubState") == "auto-restart" or (not state.has_job and (state.active or state.down))

        wait_until(stays, within_s, _STEP_S, self.life.context)

    def be_down(self, within_s: float) -> None:
        """See it down for the undo, and stop it where it is not; one that waits for us at boot stays in its queue."""
        state = self.life.now()
        if state.down and not members(state) and (not state.has_job or self._will_start()):
            return
        note(self.life.context, _STOPPED_AGAIN)
        within_s = max(within_s, DOWN_WITHIN_S)
        if not self._comes_down(within_s):
            raise Unanswered(
                f"{self.unit} was told to stop and is {self._how()} after {within_s:g} s: it is put right when it is "
                f"down (`systemctl kill --signal=KILL {self.unit}`)."
            )

    def end(self) -> None:
        """Start it where the fault, the undo or a reboot has left it down; one that somebody stopped stays so."""
        context = self.life.context
        if not marked(context, _STOPPED_AGAIN) and (self.has_started or not marked(context, _STOPPED)):
            self.life.revive()
            return
        state = self.life.now()
        is_down = state.down or state.has_job or state.text("ActiveState") == "deactivating"
        if is_down and not self._will_start():
            self.life.start()

    def _comes_down(self, within_s: float) -> bool:
        self.life.systemd.ask("stop", "--no-block", "--", self.unit)

        def is_down() -> bool:
            state = self.life.now()
            return state.down and not state.has_job and not members(state)

        return wait_until(is_down, within_s, _STEP_S, self.life.context)

    def _how(self) -> str:
        return self.life.now().text("ActiveState")

    def _will_start(self) -> bool:
        """Tell whether PID 1 starts it as soon as we, who run before it at boot, have ended."""
        return host_is_starting(self.life.systemd) and start_is_queued(self.life.systemd, self.unit)
