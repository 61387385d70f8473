# SPDX-License-Identifier: Apache-2.0
"""Which units may be taken: those that can be stopped, kept down and started again, and take no others with them."""

from fnmatch import fnmatchcase
from typing import Dict, Sequence

from chaosgpu.agent.errors import BadRequest, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.on_unit import OnUnit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_state import UnitState, look_at, pending_edits
from chaosgpu.agent.systemd import Systemd

__all__ = ["fit_units"]


def fit_units(names: Sequence[str], context: Context) -> Dict[str, UnitState]:
    """Return the units by their own names, in this order; refuse where any of them is unfit."""
    systemd = systemd_of(context)
    edited = pending_edits(systemd)
    if edited:
        raise Refused(
            f"Unit files were changed on this host and not loaded yet ({', '.join(edited[:5])}), and a drain needs a "
            "daemon-reload, which would put those changes in force. Run `systemctl daemon-reload` first, or take them "
            "back; nothing was touched."
        )
    states = {state.id: state for state in (_fit(name, context, systemd) for name in names)}
    for state in states.values():
        _refuse_company(state, states, systemd)
    return states


def _fit(name: str, context: Context, systemd: Systemd) -> UnitState:
    state = look_at(systemd, name)
    if state.text("LoadState") == "masked" and state.down:
        return state
    state = unit_of(OnUnit(name), context)
    if any(fnmatchcase(one, "slurmd.*") for one in {state.id, *state.names}):
        raise BadRequest("slurmd is not stopped: name `slurm`, and the node is drained.")
    if state.has_job or not (state.active or state.down):
        raise Refused(f"{state.id} is {state.text('ActiveState')}: wait until it is up or down.")
    if "no" in (state.text("CanStop"), state.text("CanStart")) or _is_transient(state, systemd):
        raise Refused(f"systemd could not start {state.id} again when it is down; nothing was touched.")
    return state


def _is_transient(state: UnitState, systemd: Systemd) -> bool:
    return systemd.ask("show", "--property=Transient", "--value", "--", state.id).strip() == "yes"


def _refuse_company(state: UnitState, named: Dict[str, UnitState], systemd: Systemd) -> None:
    """Refuse where units that nobody has named would go down with it, or would start it again."""
    kinds = ("RequiredBy", "BoundBy", "ConsistsOf", "TriggeredBy")
    company = {name for kind in kinds for name in state.words(kind) if not name.endswith(".target")}
    known = {name for one in named.values() for name in one.names}
    up = sorted(name for name in company - known if look_at(systemd, name).active)
    if state.active and up:
        raise Refused(
            f"{', '.join(up)} would go down with {state.id}, or start it again: name them, too. Nothing was touched."
        )
