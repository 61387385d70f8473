# SPDX-License-Identifier: Apache-2.0
"""One systemd unit, as systemd describes it."""

from chaosgpu.agent.faults.on_unit import parse_unit
from chaosgpu.agent.faults.unit_state import look_at
from chaosgpu.agent.readings.catalogue import Answer, Tools, reading
from chaosgpu.agent.values import JsonMapping


@reading("unit.state", frozenset({"unit"}))
def unit_state(params: JsonMapping, tools: Tools) -> Answer:
    """Return its state; a unit that systemd does not have is unknown, and not down."""
    name, answer = parse_unit(params), Answer()
    systemd = tools.find_systemd()
    if systemd is None:
        answer.unknown["active"] = "systemd is not this host's PID 1"
        return answer
    state = look_at(systemd, name)
    load = state.text("LoadState")
    if load not in ("loaded", "masked"):
        answer.unknown["active"] = f"systemd has no working unit {name} (it is {load})"
        return answer
    answer.values.update(
        {
            "active": state.active,
            "active_state": state.text("ActiveState"),
            "sub_state": state.text("SubState"),
            "result": state.text("Result"),
            "restarts": state.whole("NRestarts"),
            "main_pid": state.main_pid,
        }
    )
    answer.note("freezer_state", state.text("FreezerState") or None, "this systemd does not tell it (before 246)")
    return answer
