# SPDX-License-Identifier: Apache-2.0
"""What every fault on a systemd unit shares: which unit is meant, by its canonical name, and whether it may be hit."""

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, Forbidden, Refused, Unanswered
from chaosgpu.agent.faults import proc_table
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.unit_state import UnitState, look_at, members
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.values import JsonMapping

__all__ = ["UNIT_KEYS", "OnUnit", "claim_of", "parse_unit", "systemd_of", "unit_of"]

UNIT_KEYS = frozenset({"unit"})
_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.service")
# What holds this host together, what brings people and us to it, and what is ours.
_NEVER = (
    "chaosgpu-*", "systemd-*", "init.scope", "-.*", "dbus.*", "dbus-broker.*", "ssh.*", "sshd.*", "ssh@*", "sshd@*",
    "user@*", "user-runtime-dir@*", "session-*", "getty@*", "serial-getty@*", "cron.*", "crond.*",
)  # fmt: skip


@dataclass(frozen=True)
class OnUnit:
    """The parameters of a fault on one unit; each fault adds its own."""

    unit: str


def parse_unit(raw: JsonMapping) -> str:
    """Read `unit`: the whole name of a service, no pattern, no template without its instance.

    Slices hold other units and scopes cannot be started again, so neither is taken.
    """
    name = values.text(raw, "unit")
    if not _NAME.fullmatch(name):
        raise BadRequest(f"unit must be the whole name of a service, such as triton.service, not {name!r}.")
    if name.partition("@")[2].startswith("."):
        raise BadRequest(f"unit {name!r} is a template: name one instance of it, such as {name.replace('@', '@0')}.")
    return name


def systemd_of(context: Context) -> Systemd:
    """Return systemd; Forbidden under a home of its own, Refused where we are not root or it is not PID 1."""
    if context.limited_to_home is not None:
        raise Forbidden(
            f"Under CHAOSGPU_AGENT_HOME={context.limited_to_home} no unit of this host is touched. Unset the variable "
            "to work under the host's own policy."
        )
    if os.geteuid() != 0:
        raise Refused(f"Only root may change units, and this agent runs as user {os.geteuid()}; nothing was touched.")
    found = context.find_systemd()
    if found is None:
        raise Unanswered("systemd is not this host's PID 1, or does not say so now; no unit of it was touched.")
    return found


def unit_of(params: OnUnit, context: Context) -> UnitState:
    """Return the unit that is meant; Refused where systemd has no such unit, Forbidden where nobody may touch it."""
    state = look_at(systemd_of(context), params.unit)
    load = state.text("LoadState")
    if load == "masked":
        raise Refused(f"{params.unit} is masked on this host, so it cannot run: there is nothing to break.")
    if load != "loaded":
        raise Refused(f"systemd has no working unit {params.unit} on this host (it is {load}); nothing was touched.")
    _protect(state, context)
    return state


def claim_of(state: UnitState) -> str:
    """Name the unit: one fault on it at a time, whatever it does, and by whichever alias."""
    return f"unit:{state.id}"


def _protect(state: UnitState, context: Context) -> None:
    names = {state.id, *state.names}
    for name in sorted(names):
        if any(fnmatchcase(name, pattern) for pattern in _NEVER):
            raise Refused(f"{name} holds this host together or brings us to it: it is never touched.")
    families = {f"{name.partition('@')[0]}@.{name.rpartition('.')[2]}" for name in names if "@" in name}
    every = names | families
    for protected in context.protected_units:
        if every & {protected, f"{protected}.service"}:
            raise Forbidden(f"This host's policy protects {protected}; nothing was touched.")
    ours = proc_table.ours(proc_table.look())
    shared = sorted(who.pid for who in members(state) if who.pid in ours)
    if shared:
        raise Refused(f"We run in {state.id} ourselves (processes {shared}): breaking it would break the undo.")
