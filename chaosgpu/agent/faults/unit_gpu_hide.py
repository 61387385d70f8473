# SPDX-License-Identifier: Apache-2.0
"""unit.gpu.hide: a service starts anew and sees no GPU, as with a wrong line in its environment."""

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Dict, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_drop_in import DropIn, drop_in_for, refuse_pending_edits
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, refuse_company, request_restart
from chaosgpu.agent.faults.unit_state import UnitState
from chaosgpu.agent.process import environment_of
from chaosgpu.agent.values import JsonMapping, JsonObject

# CUDA ends its list of devices at -1; NVIDIA's container runtime gives no GPU to a container with void.
HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1", "NVIDIA_VISIBLE_DEVICES": "void"}
_TELLS = "CUDA_VISIBLE_DEVICES"
UP_WITHIN_S = 20.0
SETTLES_S = 2.0  # from a start until the program is loaded
INTERVAL_S = 0.3
# What systemd gives each start anew.
_VOLATILE = ("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MAINPID", "LISTEN_PID", "WATCHDOG_PID")


@dataclass(frozen=True)
class HideParams(OnUnit):
    """Which unit, and how long it may take to be back."""

    back_within_s: float


class UnitGpuHide(Fault[HideParams]):
    """A server that comes up without its GPU."""

    name = "unit.gpu.hide"
    summary = "Restarts a systemd service with CUDA_VISIBLE_DEVICES=-1: it comes up without its GPUs, or not at all."
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active, has no main process or sees no GPU already; one that takes other active units down "
        "with it; unit files that somebody changed and did not load; the host's own and protected units"
    )
    traps = (
        "It restarts the service twice, and what was in its memory is lost. A file of EnvironmentFile= or the command "
        "itself may set the variable again: the new process is looked at, and the fault is unverified then. A "
        "container gets it only where the unit hands its environment on. A program that asks the driver directly "
        "(NVML) still sees the GPU. It is a drop-in and a daemon-reload, which fires timers of others early."
    )

    def parse(self, raw: JsonMapping) -> HideParams:
        """Read the values alone."""
        values.only(raw, self.name, UNIT_KEYS | {"back_within_s"})
        return HideParams(parse_unit(raw), back_within(raw))

    def check(self, params: HideParams, context: Context) -> None:
        """Refuse a unit that sees no GPU as it is, and one whose restart would not stay with it."""
        state, systemd = unit_of(params, context), systemd_of(context)
        if not state.active:
            raise NoEffect(f"{state.id} is {state.text('ActiveState')}: there is nothing to restart.")
        if _environment(state)[_TELLS] == HIDDEN[_TELLS]:
            raise NoEffect(f"{state.id} runs with {_TELLS}={HIDDEN[_TELLS]} already: nothing would change.")
        refuse_company(state, systemd)
        refuse_pending_edits(systemd)

    def claims(self, params: HideParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: HideParams, context: Context) -> JsonObject:
        """Note what its main process was started with (the rest as a digest: it may hold secrets), and the drop-in."""
        state = unit_of(params, context)
        lines = ["[Service]", *(f"Environment={name}={value}" for name, value in HIDDEN.items())]
        return {
            **Before.of(state).to_json(),
            "environment": {**_environment(state)},
            "drop_in": drop_in_for(state.id, self.name, lines, context).to_json(),
        }

    def inject(self, params: HideParams, prior: JsonMapping, context: Context) -> None:
        """Put the drop-in in and have the unit restarted."""
        life = _life(params, prior, context)
        _drop_in(prior).put(life.systemd)
        request_restart(life.systemd, life.now())

    def verify(self, params: HideParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See a new main process that has our value, or a unit that did not come up with it."""
        life = _life(params, prior, context)
        state = life.now()
        under_way = state.has_job or not state.active
        wait_until(lambda: self._hidden(life), UP_WITHIN_S if under_way else SETTLES_S, 0.1, context)
        context.clock.sleep(INTERVAL_S)
        state = life.now()
        if not self._hidden(life):
            raise Unverified(
                f"{state.id} was restarted with {_TELLS}={HIDDEN[_TELLS]} in a drop-in, but is "
                f"{state.text('ActiveState')} and its main process {state.main_pid} does not have it: its "
                "EnvironmentFile= or its command may set it again."
            )
        return {"main_pid": state.main_pid, "active_state": state.text("ActiveState"), _TELLS: HIDDEN[_TELLS]}

    def undo(self, params: HideParams, prior: JsonMapping, context: Context) -> None:
        """Take the drop-in away if it is ours; restart the unit if it was started with it."""
        life = _life(params, prior, context)
        _drop_in(prior).take_away(life.systemd)
        state = life.now()
        if state.has_job or (not state.down and not life.same_start(state) and _keeps_ours(state, prior)):
            life.restart()
        else:
            life.revive()

    def restored(self, params: HideParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it up with the environment that it had."""
        life = _life(params, prior, context)
        settled = life.settled()
        state = life.now()
        before = values.mapping(prior, "environment")
        wrong = ""
        if settled.clean and state.active:
            wait_until(lambda: _started_with(life.now()) is not None, SETTLES_S, 0.1, context)
            state = life.now()
            now = _environment(state)
            same = {name: now.get(name) == before.get(name) for name in now}
            settled = replace(settled, values={**settled.values, "environment_is_as_before": all(same.values())})
            for name in HIDDEN:
                if not same[name]:
                    wrong = f"{state.id} runs with {name}={now[name]}, and had {before.get(name)}"
        return _drop_in(prior).judged(settled, life.systemd, wrong)

    @staticmethod
    def _hidden(life: Life) -> bool:
        state = life.now()
        if life.same_start(state):
            return False
        if state.main_process() is not None:
            return _has_ours(state)
        # It ended at once: with nothing else that could have set the variable, it has seen ours.
        return not state.active and not state.was_asked_to_stop and not state.text("EnvironmentFiles")


def _started_with(state: UnitState) -> Optional[Dict[str, str]]:
    """Return the environment of its main process; None where that is still systemd's own image, or gone."""
    main = state.main_process()
    try:
        program = "" if main is None else os.readlink(f"/proc/{main.pid}/exe")  # noqa: PTH115 (a kernel link)
    except OSError:
        return None
    loaded = main is not None and not program.rpartition("/")[2].startswith("systemd")
    return environment_of(main.pid) if main is not None and loaded else None


def _has_ours(state: UnitState) -> bool:
    """Tell whether it runs with our value; a start whose process is not there yet or any more counts as ours."""
    found = _started_with(state)
    return found is None or found.get(_TELLS) == HIDDEN[_TELLS]


def _keeps_ours(state: UnitState, prior: JsonMapping) -> bool:
    """Tell whether it runs with any value of ours that it did not have: one alone may have been set again."""
    found, before = _started_with(state), values.mapping(prior, "environment")
    return found is None or any(found.get(name) == ours != before.get(name) for name, ours in HIDDEN.items())


def _environment(state: UnitState) -> Dict[str, Optional[str]]:
    """Return our variables as the main process has them, and a digest of the others that stay from start to start."""
    found = _started_with(state)
    if found is None:
        raise Refused(f"{state.id} has no main process whose environment could be read: nobody could compare it.")
    rest = sorted(f"{name}={value}" for name, value in found.items() if name not in (*_VOLATILE, *HIDDEN))
    digest = hashlib.sha256("\0".join(rest).encode(errors="surrogateescape")).hexdigest()
    return {**{name: found.get(name) for name in HIDDEN}, "others_sha256": digest}


def _drop_in(prior: JsonMapping) -> DropIn:
    return DropIn.from_json(values.mapping(prior, "drop_in"))


def _life(params: HideParams, prior: JsonMapping, context: Context) -> Life:
    return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context)
