# SPDX-License-Identifier: Apache-2.0
"""unit.stop: a unit is down, as after a mistaken `systemctl stop`, and stays down until the undo starts it."""

from dataclasses import dataclass
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import NoEffect, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, refuse_company
from chaosgpu.agent.faults.unit_state import UnitState, look_at, members
from chaosgpu.agent.values import JsonMapping, JsonObject

DOWN_WITHIN_S = 20.0
INTERVAL_S = 0.3


@dataclass(frozen=True)
class UnitStopParams(OnUnit):
    """Which unit, and how long it may take to be back."""

    back_within_s: float


class UnitStop(Fault[UnitStopParams]):
    """An outage of one service."""

    name = "unit.stop"
    summary = "Stops a systemd service; the undo starts it and waits until it is up again."
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active, is masked or unknown; one that takes other active units down with it, or that an "
        "active socket, path or timer would start again; the host's own and protected units"
    )
    traps = (
        "What was in its memory is lost. A stop that takes longer than 20 s (see TimeoutStopSec=) is not seen in time "
        "and undone. Whoever starts it by hand meanwhile ends the fault: that is left alone and reported, and the run "
        "is inconclusive. Another unit that wants it, or configuration management, may start it, too."
    )

    def parse(self, raw: JsonMapping) -> UnitStopParams:
        """Read the values alone."""
        values.only(raw, self.name, UNIT_KEYS | {"back_within_s"})
        return UnitStopParams(parse_unit(raw), back_within(raw))

    def check(self, params: UnitStopParams, context: Context) -> None:
        """Refuse a unit that is down already, and one whose stop would not stay with it."""
        state = unit_of(params, context)
        if not state.active:
            raise NoEffect(f"{state.id} is {state.text('ActiveState')} already: nothing would change.")
        refuse_company(state, systemd_of(context))

    def claims(self, params: UnitStopParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: UnitStopParams, context: Context) -> JsonObject:
        """Note which start of it this is."""
        return Before.of(unit_of(params, context)).to_json()

    def inject(self, params: UnitStopParams, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Stop it."""
        systemd_of(context).ask("stop", "--no-block", "--", values.text(prior, "unit"))

    def verify(self, params: UnitStopParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See it down and nobody left in its control group, twice."""
        systemd, unit = systemd_of(context), values.text(prior, "unit")
        wait_until(lambda: _stays(look_at(systemd, unit)), DOWN_WITHIN_S, 0.1, context)
        for pause_s in (0.0, INTERVAL_S):
            context.clock.sleep(pause_s)
            state = look_at(systemd, unit)
            left = [who.pid for who in members(state)]
            if not state.down or left:
                raise Unverified(
                    f"systemd was told to stop {unit}, but it is {state.text('ActiveState')} and these processes of "
                    f"it run: {left}."
                )
        return {"active_state": state.text("ActiveState"), "result": state.text("Result")}

    def undo(self, params: UnitStopParams, prior: JsonMapping, context: Context) -> None:
        """Start it, unless it is up: then nobody has stopped it, or somebody has started it."""
        life = self._life(params, prior, context)
        state = life.now()
        if state.down or state.has_job or state.text("ActiveState") == "deactivating":
            life.start()

    def restored(self, params: UnitStopParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it up, and staying up."""
        return self._life(params, prior, context).restored()

    @staticmethod
    def _life(params: UnitStopParams, prior: JsonMapping, context: Context) -> Life:
        return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context)


def _stays(state: UnitState) -> bool:
    """Tell whether it is down, or up with nothing under way that would change it."""
    return state.down or (state.active and not state.has_job)
