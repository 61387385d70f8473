# SPDX-License-Identifier: Apache-2.0
"""unit.kv_cache.shrink: a server that takes its KV cache at start comes up with a smaller one."""

import os
import re
from dataclasses import dataclass, replace
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Refused, Unverified
from chaosgpu.agent.faults import unit_command
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_drop_in import DropIn, drop_in_for, refuse_pending_edits
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, refuse_company, request_restart
from chaosgpu.agent.faults.unit_reading import Reading, parse_reading
from chaosgpu.agent.faults.unit_state import UnitState
from chaosgpu.agent.process import environment_of
from chaosgpu.agent.values import JsonMapping, JsonObject

INTERVAL_S = 0.3
_STEP_S = 0.2
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_OURS = ("PATH", "HOME", "USER", "SHELL", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT")


@dataclass(frozen=True)
class ShrinkParams(OnUnit):
    """What makes its cache smaller (a variable or arguments), and where it tells how many blocks it has."""

    variable: Optional[Tuple[str, str]]
    arguments: Tuple[str, ...]
    blocks: Reading
    tolerance_percent: float
    back_within_s: float


class UnitKvCacheShrink(Fault[ShrinkParams]):
    """A KV cache that was sized wrong."""

    name = "unit.kv_cache.shrink"
    summary = "Restarts a serving unit with a smaller share of GPU memory for its KV cache; fewer blocks are read back."
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active or tells no number of blocks; one that runs with that setting already; arguments "
        "for a command with variables or prefixes; other active units that would go down with it; unit files that "
        "somebody changed and did not load; the host's own and protected units"
    )
    traps = (
        "It restarts the service twice, and what was in its memory is lost. Holding GPU memory shrinks nothing in such "
        "a server: it took its cache when it started. Where the number of blocks does not come back as it was (someone "
        "has taken GPU memory meanwhile), the lease is stuck: restart the unit by hand. A server whose blocks vary "
        "from start to start wants a tolerance_percent."
    )

    def parse(self, raw: JsonMapping) -> ShrinkParams:
        """Read the values alone."""
        keys = {"environment", "arguments", "blocks", "tolerance_percent", "back_within_s"}
        values.only(raw, self.name, UNIT_KEYS | keys)
        if (raw.get("environment") is None) == (raw.get("arguments") is None):
            raise BadRequest("Give either environment or arguments, one of the two: what gives the server less memory.")
        tolerance = values.number({"tolerance_percent": raw.get("tolerance_percent", 1)}, "tolerance_percent", 0, 20)
        blocks = parse_reading(raw, "blocks")
        return ShrinkParams(parse_unit(raw), _variable(raw), _arguments(raw), blocks, tolerance, back_within(raw))

    def check(self, params: ShrinkParams, context: Context) -> None:
        """Refuse a unit whose blocks are not known, and one for which nothing would change."""
        state, systemd = unit_of(params, context), systemd_of(context)
        if not state.active or state.main_process() is None:
            raise NoEffect(f"{state.id} is {state.text('ActiveState')}: there is no server whose cache could shrink.")
        if _has_ours(state, params):
            raise NoEffect(f"{state.id} runs with {_words(params)} already: nothing would change.")
        if not (params.blocks.read(state, systemd) or 0) > 0:
            raise Refused(f"{state.id} tells no number of blocks by {params.blocks}; nothing was touched.")
        refuse_company(state, systemd)
        refuse_pending_edits(systemd)
        _lines(state, params, context)

    def claims(self, params: ShrinkParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: ShrinkParams, context: Context) -> JsonObject:
        """Note how many blocks it has, and the drop-in."""
        state, systemd = unit_of(params, context), systemd_of(context)
        blocks = params.blocks.read(state, systemd)
        if blocks is None:
            raise Refused(f"{state.id} does not tell its blocks any more; nothing was touched.")
        drop_in = drop_in_for(state.id, self.name, _lines(state, params, context), context)
        return {**Before.of(state).to_json(), "blocks": blocks, "drop_in": drop_in.to_json()}

    def inject(self, params: ShrinkParams, prior: JsonMapping, context: Context) -> None:
        """Put the drop-in in and have the unit restarted."""
        life = _life(params, prior, context)
        _drop_in(prior).put(life.systemd)
        request_restart(life.systemd, life.now())

    def verify(self, params: ShrinkParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read fewer blocks from a new process that has our setting, twice."""
        life, before = _life(params, prior, context), values.number(prior, "blocks", 0, 1e12)
        wait_until(lambda: _blocks(life, params) is not None, params.back_within_s, _STEP_S, context)
        first = _blocks(life, params)
        context.clock.sleep(INTERVAL_S)
        blocks = _blocks(life, params)
        state = life.now()
        if blocks is None or first is None:
            raise Unverified(
                f"{state.id} was restarted with {_words(params)} and is {state.text('ActiveState')}, but its new "
                f"process does not have that, or told no blocks within {params.back_within_s:g} s: a file of "
                "EnvironmentFile= or the command may set it again, or it cannot start with so little."
            )
        if not 0 < max(first, blocks) < before:
            raise Unverified(f"{state.id} has {blocks:g} blocks with {_words(params)}, and had {before:g} before.")
        return {"blocks": blocks, "blocks_before": before, "main_pid": state.main_pid}

    def undo(self, params: ShrinkParams, prior: JsonMapping, context: Context) -> None:
        """Take the drop-in away if it is ours; restart the unit if it was started with it."""
        life = _life(params, prior, context)
        _drop_in(prior).take_away(life.systemd)
        state = life.now()
        if state.has_job or (not state.down and not life.same_start(state) and _may_have_ours(state, params)):
            life.restart()
        else:
            life.revive()

    def restored(self, params: ShrinkParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it up without our setting, and with as many blocks as before."""
        life, before = _life(params, prior, context), values.number(prior, "blocks", 0, 1e12)
        settled = life.settled()
        wrong = ""
        if settled.clean and life.now().active:
            spread = before * params.tolerance_percent / 100

            def back() -> bool:
                found = params.blocks.read(life.now(), life.systemd)
                return found is not None and abs(found - before) <= spread

            as_before = wait_until(back, params.back_within_s, _STEP_S, context)
            state = life.now()
            blocks = params.blocks.read(state, life.systemd)
            settled = replace(settled, values={**settled.values, "blocks": blocks, "blocks_before": before})
            if _has_ours(state, params):
                wrong = f"{state.id} runs with {_words(params)}"
            elif not as_before:
                wrong = f"{state.id} has {blocks} blocks, and had {before:g}: see who holds GPU memory, restart it"
        return _drop_in(prior).judged(settled, life.systemd, wrong)


def _blocks(life: Life, params: ShrinkParams) -> Optional[float]:
    """Return what a new process with our setting tells; None as long as there is none."""
    state = life.now()
    if life.same_start(state) or state.has_job or not state.active or not _has_ours(state, params):
        return None
    return params.blocks.read(state, life.systemd)


def _has_ours(state: UnitState, params: ShrinkParams) -> bool:
    if params.variable is None:
        words = unit_command.command_line(state.main_pid)
        return tuple(words[-len(params.arguments) :]) == params.arguments
    name, value = params.variable
    return (environment_of(state.main_pid) or {}).get(name) == value


def _may_have_ours(state: UnitState, params: ShrinkParams) -> bool:
    """Tell it also of a start whose process is not there yet or any more."""
    gone = not state.main_pid or not os.path.exists(f"/proc/{state.main_pid}/exe")  # noqa: PTH110 (pathlib costs 9 ms)
    return gone or _has_ours(state, params)


def _lines(state: UnitState, params: ShrinkParams, context: Context) -> "list[str]":
    if params.variable is None:
        return unit_command.exec_lines(state, systemd_of(context), params.arguments)
    return unit_command.environment_lines(**{params.variable[0]: params.variable[1]})


def _words(params: ShrinkParams) -> str:
    return " ".join(params.arguments) if params.variable is None else "=".join(params.variable)


def _variable(raw: JsonMapping) -> Optional[Tuple[str, str]]:
    if raw.get("environment") is None:
        return None
    source = values.mapping(raw, "environment")
    values.only(source, "environment", frozenset({"name", "value"}))
    name, value = values.text(source, "name"), values.text(source, "value")
    if not _VARIABLE.fullmatch(name) or name in _NOT_OURS or not unit_command.printable(value):
        raise BadRequest(
            f"environment must be a variable of the server's own and a plain text, not {name!r}: {value!r}."
        )
    return name, value


def _arguments(raw: JsonMapping) -> Tuple[str, ...]:
    found = raw.get("arguments")
    if found is None:
        return ()
    good = isinstance(found, list) and found and all(isinstance(word, str) and word for word in found)
    if not isinstance(found, list) or not good or not all(unit_command.printable(str(word)) for word in found):
        raise BadRequest(f'arguments must be a list of texts, such as ["--gpu-memory-utilization=0.4"], not {found!r}.')
    return tuple(map(str, found))


def _drop_in(prior: JsonMapping) -> DropIn:
    return DropIn.from_json(values.mapping(prior, "drop_in"))


def _life(params: ShrinkParams, prior: JsonMapping, context: Context) -> Life:
    return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context)
