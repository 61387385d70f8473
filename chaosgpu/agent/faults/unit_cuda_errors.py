# SPDX-License-Identifier: Apache-2.0
"""unit.cuda.errors: one service's own CUDA calls fail, by a library that is preloaded into it and obeys a toggle."""

import os
from dataclasses import dataclass, replace
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Refused, Unverified
from chaosgpu.agent.faults import unit_command
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_cuda_processes import (
    cuda_processes,
    mapped_anywhere,
    refuse_unloadable,
    writes_nowhere,
)
from chaosgpu.agent.faults.unit_drop_in import DropIn, drop_in_for, refuse_pending_edits
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, mark, marked, refuse_company, request_restart
from chaosgpu.agent.faults.unit_reading import answers, local_url
from chaosgpu.agent.record import State
from chaosgpu.agent.shim import library
from chaosgpu.agent.shim.toggle import CODES, FOLDER_VARIABLE, GROUPS, Errors, Toggle
from chaosgpu.agent.store import Slots
from chaosgpu.agent.values import JsonMapping, JsonObject

RUNTIME = "/run"
INTERVAL_S = 0.3
_STEP_S = 0.1
_TURNED_ON = "cuda-errors-on"


@dataclass(frozen=True)
class ErrorsParams(OnUnit):
    """Which calls fail with what, when the service counts as ready, and where the library comes from."""

    errors: Errors
    ready_url: Optional[str]
    settle_s: float
    traffic_within_s: float
    back_within_s: float
    prebuilt: Optional[library.Prebuilt]


class UnitCudaErrors(Fault[ErrorsParams]):
    """A workload whose CUDA calls fail while nothing is wrong with the GPU."""

    name = "unit.cuda.errors"
    summary = (
        "Makes CUDA calls of one service fail with a chosen error, by a preloaded library; the GPU itself is well."
    )
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit in which nothing has libcuda loaded, that preloads a library already, or whose programs have more "
        "rights than who started them; no compiler and no library named; other active units that would go down with "
        "it; unit files that somebody changed and did not load; the host's own and protected units"
    )
    traps = (
        "It restarts the service before (calls still go through then) and at the undo; turning the errors on and off "
        "takes a millisecond, without a restart. Without traffic no call fails, and that is unverified. After errors "
        "such as 700 a real driver fails every call of the process until it ends; here that too ends with the toggle. "
        "A program that clears LD_PRELOAD, is linked statically or loads with RTLD_DEEPBIND is not reached: unverified."
    )

    def parse(self, raw: JsonMapping) -> ErrorsParams:
        """Read the values alone."""
        keys = {"code", "calls", "every", "ready_url", "settle_s", "traffic_within_s", "back_within_s", "library"}
        values.only(raw, self.name, UNIT_KEYS | keys)
        given = {"settle_s": 2, "traffic_within_s": 10, **raw}
        ready_url = None if raw.get("ready_url") is None else local_url(raw, "ready_url")
        settle_s = values.number(given, "settle_s", 0, 300)
        traffic_within_s = values.number(given, "traffic_within_s", 1, 300)
        unit, errors = parse_unit(raw), _errors(raw)
        return ErrorsParams(unit, errors, ready_url, settle_s, traffic_within_s, back_within(raw), _prebuilt(raw))

    def check(self, params: ErrorsParams, context: Context) -> None:
        """Refuse a unit into which nothing can be preloaded, and a host on which there is nothing to preload."""
        state, systemd = unit_of(params, context), systemd_of(context)
        if not state.active:
            raise NoEffect(f"{state.id} is {state.text('ActiveState')}: it makes no CUDA call that could fail.")
        refuse_unloadable(state, systemd)
        refuse_company(state, systemd)
        refuse_pending_edits(systemd)
        if params.ready_url is not None and not answers(params.ready_url):
            raise Refused(
                f"{params.ready_url} does not answer 200 now, so nobody could tell a failure of ours from it."
            )
        library.provide(_root(context), params.prebuilt)

    def claims(self, params: ErrorsParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: ErrorsParams, context: Context) -> JsonObject:
        """Note which start of the unit this is, the library by path and digest, and the drop-in."""
        state, systemd = unit_of(params, context), systemd_of(context)
        shim = library.provide(_root(context), params.prebuilt)
        lease = os.path.basename(context.lease_dir or "none")  # noqa: PTH119 (pathlib costs 9 ms at start)
        folder = f"{RUNTIME}/chaosgpu-cuda-errors-{lease}"
        lines = unit_command.environment_lines(**{"LD_PRELOAD": shim.path, FOLDER_VARIABLE: folder})
        if writes_nowhere(state, systemd):
            lines.append(f"ReadWritePaths={folder}")
        return {
            **Before.of(state).to_json(),
            "library": {"path": shim.path, "sha256": shim.sha256},
            "folder": folder,
            "user": refuse_unloadable(state, systemd)[0].user,
            "drop_in": drop_in_for(state.id, self.name, lines, context).to_json(),
        }

    def inject(self, params: ErrorsParams, prior: JsonMapping, context: Context) -> None:
        """Have the unit restarted with the library in it; the toggle is off until it is up."""
        life = _life(params, prior, context)
        _toggle(prior).make(values.whole(prior, "user", 0, 1 << 32))
        _drop_in(prior).put(life.systemd)
        request_restart(life.systemd, life.now())

    def verify(self, params: ErrorsParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See the library in every CUDA process of a new start, turn it on once, and see calls fail, twice."""
        life, toggle, shim = _life(params, prior, context), _toggle(prior), _library(prior)
        if not marked(context, _TURNED_ON):
            self._see_loaded(life, params, shim)
            context.clock.sleep(params.settle_s)
            mark(context, _TURNED_ON)
            # The undo takes its folder away first: where that has happened meanwhile, this fails and nothing is on.
            try:
                toggle.turn_on(params.errors, _end_s(context))
            except FileNotFoundError as error:
                raise Refused("The lease was ended while the unit was coming up; nothing was turned on.") from error
        wait_until(lambda: any(toggle.failed().values()), params.traffic_within_s, _STEP_S, context)
        first = sum(toggle.failed().values())
        context.clock.sleep(INTERVAL_S)
        failed, processes = toggle.failed(), cuda_processes(life.now())
        missed = [process.pid for process in processes if not process.has(shim.path)]
        if not toggle.is_on() or missed or not 0 < first <= sum(failed.values()):
            raise Unverified(
                f"No CUDA call of {life.before.unit} was seen to fail within {params.traffic_within_s:g} s ({failed}; "
                f"the toggle is {'on' if toggle.is_on() else 'off'}; without the library: {missed or 'none'}). "
                "It needs traffic that makes these calls."
            )
        shown: JsonObject = {**failed}
        return {"failed_calls": shown, "code": params.errors.code, "error": CODES[params.errors.code],
                "pids": [process.pid for process in processes], "library_sha256": shim.sha256}  # fmt: skip

    def undo(self, params: ErrorsParams, prior: JsonMapping, context: Context) -> None:
        """Let calls through at once; then restart the unit without the library, if it has it."""
        _toggle(prior).remove()
        life = _life(params, prior, context)
        _drop_in(prior).take_away(life.systemd)
        state = life.now()
        if state.has_job or (not state.down and mapped_anywhere(state, _library(prior).path)):
            life.restart()
        else:
            life.revive()

    def restored(self, params: ErrorsParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it up, ready as before, and the library in no process of it."""
        life, path, url = _life(params, prior, context), _library(prior).path, params.ready_url
        settled = life.settled()
        wrong = f"{_toggle(prior).folder} is still there" if _toggle(prior).is_there() else ""
        if settled.clean and life.now().active:
            ready = url is None or wait_until(lambda: answers(str(url)), params.back_within_s, _STEP_S, context)
            if mapped_anywhere(life.now(), path):
                wrong = f"{path} is still loaded in {life.before.unit}"
            elif not ready:
                wrong = f"{url} does not answer 200 though {life.before.unit} is up"
            settled = replace(settled, values={**settled.values, "ready": ready, "loaded": path in wrong})
        return _drop_in(prior).judged(settled, life.systemd, wrong)

    def _see_loaded(self, life: Life, params: ErrorsParams, shim: library.Library) -> None:
        def up() -> bool:
            state = life.now()
            begun = not life.same_start(state) and not state.has_job and state.active
            return begun and bool(cuda_processes(state)) and (params.ready_url is None or answers(params.ready_url))

        if not wait_until(up, params.back_within_s, _STEP_S, life.context):
            raise Unverified(
                f"{life.before.unit} was restarted with the library, and within {params.back_within_s:g} s no "
                f"process of it had CUDA loaded{'' if params.ready_url is None else ' or its ready_url gave no 200'}."
            )
        missed = [process.pid for process in cuda_processes(life.now()) if not process.has(shim.path)]
        if missed or library.digest(shim.path) != shim.sha256:
            raise Unverified(
                f"Processes {missed} of {life.before.unit} use CUDA without {shim.path}: their program clears "
                "LD_PRELOAD, or cannot read the file from where it runs (see `journalctl -u`)."
            )


def _end_s(context: Context) -> float:
    """Return the lease's hard end: the toggle carries it, so that calls go through then whoever else is dead."""
    found = Slots(context.lease_dir or "", "state").read()
    if found is None:
        raise Refused("The lease has no state on disk, so its calls would fail without an end; nothing was turned on.")
    return State.from_json(found[1]).end_s


def _errors(raw: JsonMapping) -> Errors:
    code = values.whole(raw, "code", 1, 9999)
    if code not in CODES:
        known = ", ".join(f"{number} ({name})" for number, name in CODES.items())
        raise BadRequest(f"code must be one of {known}, not {code}.")
    calls = raw.get("calls", [*GROUPS])
    if not isinstance(calls, list) or not calls or not all(isinstance(call, str) and call in GROUPS for call in calls):
        raise BadRequest(f"calls must be a list of {', '.join(GROUPS)}, not {calls!r}.")
    every = values.whole({"every": raw.get("every", 1)}, "every", 1, 1_000_000)
    return Errors(code, tuple(str(call) for call in calls), every)


def _prebuilt(raw: JsonMapping) -> Optional[library.Prebuilt]:
    if raw.get("library") is None:
        return None
    source = values.mapping(raw, "library")
    values.only(source, "library", frozenset({"path", "sha256"}))
    path, sha256 = values.text(source, "path"), values.text(source, "sha256").lower()
    if not os.path.isabs(path) or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):  # noqa: PTH117, PLR2004 (SHA-256)
        raise BadRequest(f'library must be {{"path": "/…/x.so", "sha256": "64 hex digits"}}, not {source!r}.')
    return library.Prebuilt(path, sha256)


def _root(context: Context) -> str:
    """Return the agent's state root; the lease's folder is two below it."""
    return os.path.dirname(os.path.dirname(context.lease_dir or "/var/lib/chaosgpu/leases/none"))  # noqa: PTH120 (as above)


def _library(prior: JsonMapping) -> library.Library:
    source = values.mapping(prior, "library")
    return library.Library(values.text(source, "path"), values.text(source, "sha256"))


def _toggle(prior: JsonMapping) -> Toggle:
    return Toggle(values.text(prior, "folder"))


def _drop_in(prior: JsonMapping) -> DropIn:
    return DropIn.from_json(values.mapping(prior, "drop_in"))


def _life(params: ErrorsParams, prior: JsonMapping, context: Context) -> Life:
    return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context)
