# SPDX-License-Identifier: Apache-2.0
"""library.mismatch: one service starts on the driver library of another version than the kernel module's."""

from dataclasses import dataclass, replace
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.library_answers import FIRST_CALLS, first_answer
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_cover import covers_for, covers_in, how, may_have_ours, own_files
from chaosgpu.agent.faults.unit_drop_in import DropIn, drop_in_for, refuse_pending_edits
from chaosgpu.agent.faults.unit_library import family_of, parse_file, usable
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, mark, marked, refuse_company, request_restart
from chaosgpu.agent.faults.unit_state import members
from chaosgpu.agent.values import JsonMapping, JsonObject

LOADS_WITHIN_S = 30.0
INTERVAL_S = 0.3
_STEP_S = 0.1
_SEEN = "library-mismatch-seen"


@dataclass(frozen=True)
class MismatchParams(OnUnit):
    """Which files the unit gets in place of its own, and how long it may take to load them, and to be back."""

    files: Tuple[str, ...]
    loads_within_s: float
    back_within_s: float


class LibraryMismatch(Fault[MismatchParams]):
    """A driver that was upgraded under its services: library and kernel module are of two versions, for one unit."""

    name = "library.mismatch"
    summary = "Restarts a systemd service on a driver library of another version than the kernel module's; nobody else."
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active, or has not loaded that library; a library that goes with the kernel module, that "
        "is for another processor, or that others than root may write; a unit with a root of its own; one that takes "
        "other active units down with it; unit files that somebody changed and did not load; the host's own and "
        "protected units"
    )
    traps = (
        "It restarts the service twice, and what was in its memory is lost. The service may not come up at all: that "
        "is the fault, and the undo starts it. The file is mounted over the unit's own, for that unit alone: the "
        "kernel's map of its processes still has the old path, so what tells is the error, and readings of the host "
        "and of its libraries stay as they were. Name the library of a real other driver (`dpkg-deb -x` of its "
        "package). It is a drop-in and a daemon-reload, which fires timers of others early."
    )

    def parse(self, raw: JsonMapping) -> MismatchParams:
        """Read the values alone."""
        values.only(raw, self.name, UNIT_KEYS | {"files", "loads_within_s", "back_within_s"})
        named = raw.get("files")
        if not isinstance(named, list) or not named:
            raise BadRequest(f"files must be a list of the other driver's libraries, not {named!r}.")
        files = tuple(parse_file({"files": one}, "files") for one in named)
        families = [family_of(path) for path in files]
        if len(set(families)) < len(families) or not set(families) <= set(FIRST_CALLS):
            raise BadRequest(f"files must be one file each of {' and '.join(FIRST_CALLS)}, not {', '.join(files)}.")
        given = {"loads_within_s": LOADS_WITHIN_S, **raw}
        loads_within_s = values.number(given, "loads_within_s", 1, 600)
        return MismatchParams(parse_unit(raw), files, loads_within_s, back_within(raw))

    def check(self, params: MismatchParams, context: Context) -> None:
        """Refuse a unit that does not use the library, and a library with which nothing would break."""
        state, systemd = unit_of(params, context), systemd_of(context)
        if not state.active:
            raise NoEffect(f"{state.id} is {state.text('ActiveState')}: there is nothing to restart.")
        own_files(state, params.files)
        refuse_company(state, systemd)
        refuse_pending_edits(systemd)
        well = [path for path in params.files if first_answer(usable(path), family_of(path)) == 0]
        if well:
            raise NoEffect(
                f"{', '.join(well)} works with the kernel module that is loaded, so nothing would break: name the "
                "library of another driver version."
            )

    def claims(self, params: MismatchParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: MismatchParams, context: Context) -> JsonObject:
        """Note which start of the unit this is, what covers what, what a process is told by it, and the drop-in."""
        state = unit_of(params, context)
        covers = covers_for(state, params.files)
        files = {family_of(cover.file.path): cover.file.path for cover in covers}
        lines = ["[Service]", *(cover.line for cover in covers)]
        return {
            **Before.of(state).to_json(),
            "covers": [cover.to_json() for cover in covers],
            "told": {FIRST_CALLS[family]: first_answer(path, family) for family, path in files.items()},
            "drop_in": drop_in_for(state.id, self.name, lines, context).to_json(),
        }

    def inject(self, params: MismatchParams, prior: JsonMapping, context: Context) -> None:
        """Put the drop-in in and have the unit restarted."""
        life = _life(params, prior, context)
        _drop_in(prior).put(life.systemd)
        request_restart(life.systemd, life.now())

    def verify(self, params: MismatchParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See a new start that loads our files, or that ended on them; twice."""
        life, covers = _life(params, prior, context), covers_in(prior)
        for cover in covers:
            if not cover.file.unchanged() or cover.file.is_at(cover.over):
                raise Unverified(f"{cover.file.path} was replaced meanwhile, or lies over the host's own {cover.over}.")
        # Once it was seen, a server that goes on without its model and loads the library no more is still hit.
        enough = ("loaded", "ended", "covered") if marked(context, _SEEN) else ("loaded", "ended")
        found: List[str] = [""]

        def seen() -> bool:
            found[0] = how(life, covers)
            return found[0] in enough

        if wait_until(seen, params.loads_within_s, _STEP_S, context):
            mark(context, _SEEN)
            context.clock.sleep(INTERVAL_S)
        state = life.now()
        if found[0] not in enough or not how(life, covers):
            raise Unverified(
                f"{state.id} was restarted with {', '.join(cover.file.path for cover in covers)} in place of its own, "
                f"and within {params.loads_within_s:g} s no process of it had loaded that, nor had it ended (it is "
                f"{state.text('ActiveState')}): it may load it with its first request only, or from elsewhere."
            )
        return {
            "seen": found[0],
            "main_pid": state.main_pid,
            "active_state": state.text("ActiveState"),
            "files": {cover.over: cover.file.path for cover in covers},
            "sha256": {cover.file.path: cover.file.sha256 for cover in covers},
            "a_process_is_told": values.mapping(prior, "told"),
        }

    def undo(self, params: MismatchParams, prior: JsonMapping, context: Context) -> None:
        """Take the drop-in away if it is ours; restart the unit if it was started with it."""
        life = _life(params, prior, context)
        _drop_in(prior).take_away(life.systemd)
        state = life.now()
        if state.has_job or (not state.down and not life.same_start(state) and may_have_ours(state, covers_in(prior))):
            life.restart()
        else:
            life.revive()

    def restored(self, params: MismatchParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it up, and the host's own files where ours were."""
        life = _life(params, prior, context)
        settled = life.settled()
        state, wrong = life.now(), ""
        if settled.clean and state.active:
            pids = [who.pid for who in members(state)]
            still = [cover.over for cover in covers_in(prior) if any(map(cover.seen_by, pids))]
            if still:
                wrong = f"{', '.join(still)} is still covered in {state.id}"
            settled = replace(settled, values={**settled.values, "libraries_are_the_hosts": not still})
        return _drop_in(prior).judged(settled, life.systemd, wrong)


def _drop_in(prior: JsonMapping) -> DropIn:
    return DropIn.from_json(values.mapping(prior, "drop_in"))


def _life(params: MismatchParams, prior: JsonMapping, context: Context) -> Life:
    return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context)
