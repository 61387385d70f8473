# SPDX-License-Identifier: Apache-2.0
"""unit.kill: every process of a unit gets a signal at once, as in a crash; systemd's Restart= shows what it does."""

from dataclasses import dataclass
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, mark, marked, refuse_company
from chaosgpu.agent.faults.unit_state import look_at, members
from chaosgpu.agent.process import Identity, alive
from chaosgpu.agent.values import JsonMapping, JsonObject

SIGNALS = ("KILL", "TERM", "INT", "QUIT", "ABRT", "SEGV")
GONE_WITHIN_S = 10.0
SEEN_WITHIN_S = 2.0  # until PID 1 has seen that a process has ended
_SIGNALLED = "signalled"
_AFTER_A_KILL = ("on-failure", "on-abnormal", "on-abort")  # the Restart= that acts after it for sure


@dataclass(frozen=True)
class UnitKillParams(OnUnit):
    """Which unit, with which signal, and how long it may take to be back."""

    signal: str
    back_within_s: float


class UnitKill(Fault[UnitKillParams]):
    """A crash of one service."""

    name = "unit.kill"
    summary = "Sends a signal to every process of a systemd service; it comes back by its own Restart=, or by the undo."
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active or has no process; one that takes other active units down with it, or that an "
        "active socket, path or timer would start again; the host's own and protected units"
    )
    traps = (
        "What was in its memory is lost. With Restart= systemd may have it back before the probe looks: the fault is "
        "the crash, not the time after it. TERM and INT count as a clean end: Restart=on-failure does not act then. "
        "Too many restarts within StartLimitIntervalSec= and systemd gives up; the undo then resets that count. A "
        "process that handles the signal and goes on makes the fault unverified."
    )

    def parse(self, raw: JsonMapping) -> UnitKillParams:
        """Read the values alone."""
        values.only(raw, self.name, UNIT_KEYS | {"signal", "back_within_s"})
        word = values.text({"signal": raw.get("signal", "KILL")}, "signal")
        if word not in SIGNALS:
            raise BadRequest(f"signal must be one of {', '.join(SIGNALS)}, not {word!r}.")
        return UnitKillParams(parse_unit(raw), word, back_within(raw))

    def check(self, params: UnitKillParams, context: Context) -> None:
        """Refuse a unit with nothing to kill, and one whose end would not stay with it."""
        state = unit_of(params, context)
        if not state.active or not members(state):
            raise NoEffect(f"{state.id} is {state.text('ActiveState')} and has no process: there is nothing to kill.")
        refuse_company(state, systemd_of(context))

    def claims(self, params: UnitKillParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: UnitKillParams, context: Context) -> JsonObject:
        """Note which start of it this is, who is in it, and what systemd would do by itself."""
        state = unit_of(params, context)
        return {
            **Before.of(state).to_json(),
            "processes": [{"pid": who.pid, "start_time": who.start_time} for who in members(state)],
            "restart": state.text("Restart"),
            "restarts": state.whole("NRestarts"),
        }

    def inject(self, params: UnitKillParams, prior: JsonMapping, context: Context) -> None:
        """Signal the whole control group, through systemd."""
        mark(context, _SIGNALLED)
        systemd_of(context).ask("kill", f"--signal=SIG{params.signal}", "--", values.text(prior, "unit"))

    def verify(self, params: UnitKillParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See every one of them gone, whatever has come since."""
        killed = _processes(prior)
        wait_until(lambda: not any(alive(who) for who in killed), GONE_WITHIN_S, 0.05, context)
        left = [who.pid for who in killed if alive(who)]
        if left or not killed:
            raise Unverified(
                f"SIG{params.signal} was sent to {values.text(prior, 'unit')}, but of its processes run on: {left}."
            )
        state = look_at(systemd_of(context), values.text(prior, "unit"))
        return {
            "killed_pids": [who.pid for who in killed],
            "active_state": state.text("ActiveState"),
            "sub_state": state.text("SubState"),
            "restart": state.text("Restart"),
            "restarts": state.whole("NRestarts"),
        }

    def undo(self, params: UnitKillParams, prior: JsonMapping, context: Context) -> None:
        """Start it if it is down and systemd does not bring it back; one that somebody stopped stays so."""
        life, killed = self._life(params, prior, context), _processes(prior)
        if marked(context, _SIGNALLED):  # they may still be at their end
            wait_until(lambda: not any(alive(who) for who in killed), GONE_WITHIN_S, 0.05, context)
            wait_until(lambda: not life.same_start(life.now()) or life.now().down, SEEN_WITHIN_S, 0.05, context)
        life.revive()

    def restored(self, params: UnitKillParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it up, by whoever's hand, or stopped by somebody's."""
        return self._life(params, prior, context).settled()

    @staticmethod
    def _life(params: UnitKillParams, prior: JsonMapping, context: Context) -> Life:
        restart = values.text(prior, "restart")
        comes_back = restart == "always" or (restart in _AFTER_A_KILL and params.signal == "KILL")
        return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context, comes_back)


def _processes(prior: JsonMapping) -> List[Identity]:
    found = prior.get("processes")
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    return [
        Identity(values.whole(entry, "pid", 1, 1 << 31), values.whole(entry, "start_time", 0, 1 << 62))
        for entry in entries
    ]
