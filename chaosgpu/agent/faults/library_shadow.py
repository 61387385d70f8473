# SPDX-License-Identifier: Apache-2.0
"""library.shadow: another file of a CUDA library comes first in a service's search path, as a forgotten toolkit's."""

from dataclasses import dataclass, replace
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_command import environment_lines, printable
from chaosgpu.agent.faults.unit_drop_in import DropIn, drop_in_for, refuse_pending_edits
from chaosgpu.agent.faults.unit_library import LibraryFile, family_of, loaded, parse_file, take, usable
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, mark, marked, refuse_company, request_restart
from chaosgpu.agent.faults.unit_search import VARIABLE, SearchFolder, folder_for
from chaosgpu.agent.faults.unit_state import UnitState, members
from chaosgpu.agent.process import environment_of
from chaosgpu.agent.values import JsonMapping, JsonObject

LOADS_WITHIN_S = 30.0
INTERVAL_S = 0.3
_STEP_S = 0.1
_SEEN = "library-shadow-seen"


@dataclass(frozen=True)
class ShadowParams(OnUnit):
    """Which file, under which name it is found, and how long the unit may take to load it, and to be back."""

    file: str
    as_name: Optional[str]
    loads_within_s: float
    back_within_s: float


class LibraryShadow(Fault[ShadowParams]):
    """A second version of a CUDA library that a search path puts before the right one."""

    name = "library.shadow"
    summary = "Restarts a systemd service with another file of a CUDA library first in its search path."
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active, has no main process, or has loaded nothing of that library's name; a file that it "
        "has loaded already, that is for another processor, or that others than root may write; one that takes other "
        "active units down with it; unit files that somebody changed and did not load; the host's own and protected "
        "units"
    )
    traps = (
        "It restarts the service twice, and what was in its memory is lost. Whoever asks for the library by its name "
        "gets the other file; whoever names a path, or has one built in (RPATH), keeps the right one: then the service "
        "has two, and `observed` tells. A unit whose EnvironmentFile= or command sets LD_LIBRARY_PATH itself, and a "
        "program with more rights than who started it, are not reached: unverified. So is a library that is loaded "
        "with the first request where none comes in time, and a service that ends before it can be looked at. It is a "
        "drop-in and a daemon-reload, which fires timers of others early."
    )

    def parse(self, raw: JsonMapping) -> ShadowParams:
        """Read the values alone."""
        values.only(raw, self.name, UNIT_KEYS | {"file", "as_name", "loads_within_s", "back_within_s"})
        file, as_name = parse_file(raw, "file"), values.optional_text(raw, "as_name")
        if as_name is not None and ("/" in as_name or family_of(as_name) != family_of(file)):
            raise BadRequest(
                f"as_name must be a name of the same library, such as {family_of(file)}.so.12, not {as_name!r}."
            )
        loads_within_s = values.number({"loads_within_s": LOADS_WITHIN_S, **raw}, "loads_within_s", 1, 600)
        return ShadowParams(parse_unit(raw), file, as_name, loads_within_s, back_within(raw))

    def check(self, params: ShadowParams, context: Context) -> None:
        """Refuse a unit that does not use the library, or uses this file of it already."""
        state, systemd = unit_of(params, context), systemd_of(context)
        if not state.active:
            raise NoEffect(f"{state.id} is {state.text('ActiveState')}: there is nothing to restart.")
        real, own = usable(params.file), _own_files(params, state)
        if real in own:
            raise NoEffect(f"{state.id} has loaded {real} already: nothing would change.")
        _search_path(state)
        refuse_company(state, systemd)
        refuse_pending_edits(systemd)

    def claims(self, params: ShadowParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: ShadowParams, context: Context) -> JsonObject:
        """Note which start of the unit this is, its search path, the files that it has now, ours, and the drop-in."""
        state, file = unit_of(params, context), take(params.file)
        own, path = _own_files(params, state), _search_path(state)
        folder = folder_for(params.as_name or _asked_for(own[0]), file.path, context)
        lines = environment_lines(**{VARIABLE: folder.before(path)})
        return {
            **Before.of(state).to_json(),
            "search_path": path,
            "loaded": [*own],
            "file": file.to_json(),
            "folder": folder.to_json(),
            "drop_in": drop_in_for(state.id, self.name, lines, context).to_json(),
        }

    def inject(self, params: ShadowParams, prior: JsonMapping, context: Context) -> None:
        """Make the link, put the drop-in in and have the unit restarted."""
        life = _life(params, prior, context)
        _folder(prior).make()
        _drop_in(prior).put(life.systemd)
        request_restart(life.systemd, life.now())

    def verify(self, params: ShadowParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See our file in the memory of the unit's processes, twice; later also a unit that has ended on it."""
        life, file = _life(params, prior, context), _file(prior)
        if not file.unchanged():
            raise Unverified(f"{file.path} was replaced meanwhile, so nobody knows what the unit has loaded.")
        seen_before = marked(context, _SEEN)
        within_s = INTERVAL_S if seen_before and life.now().active else params.loads_within_s
        if wait_until(lambda: _in_force(life, prior, again=seen_before), within_s, _STEP_S, context):
            mark(context, _SEEN)
            context.clock.sleep(INTERVAL_S)
        state = life.now()
        if not _in_force(life, prior, again=marked(context, _SEEN)):
            raise Unverified(
                f"{state.id} was restarted with {_folder(prior).link} first in its {VARIABLE}, and within "
                f"{params.loads_within_s:g} s no process of it had loaded {file.path} (it is "
                f"{state.text('ActiveState')}): its EnvironmentFile= or its command may set that variable, the library "
                "may be asked for by its path or by another name (see as_name), or only with the first request."
            )
        found = sorted({one.path for one in loaded(state, [family_of(file.path)])})
        return {
            "pids": [*_with(state, file.path)],
            "active_state": state.text("ActiveState"),
            "file": file.path,
            "sha256": file.sha256,
            "as_name": _folder(prior).name,
            "loaded": [*found],
            "loaded_once": len(found) == 1,
        }

    def undo(self, params: ShadowParams, prior: JsonMapping, context: Context) -> None:
        """Take link and drop-in away if they are ours; restart the unit if it was started with them."""
        life = _life(params, prior, context)
        _folder(prior).remove()
        _drop_in(prior).take_away(life.systemd)
        state = life.now()
        if state.has_job or (not state.down and not life.same_start(state) and _may_have_ours(state, prior)):
            life.restart()
        else:
            life.revive()

    def restored(self, params: ShadowParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it up without our file in its memory and without our folder in its search path."""
        life = _life(params, prior, context)
        settled = life.settled()
        state, wrong = life.now(), _folder(prior).left()
        if settled.clean and state.active:
            still = _has_ours(state, prior)
            if still:
                wrong = f"{_file(prior).path} is still loaded, or searched for, in {state.id}"
            settled = replace(settled, values={**settled.values, "loaded": still})
        return _drop_in(prior).judged(settled, life.systemd, wrong)


def _in_force(life: Life, prior: JsonMapping, *, again: bool) -> bool:
    """Tell whether our file is in the unit's memory; once it was, also whether it ended on it or would again."""
    state = life.now()
    if life.same_start(state):
        return False
    if not again:
        return bool(_with(state, _file(prior).path))
    ended = not state.active and not state.was_asked_to_stop and state.main_process() is None
    return ended or _has_ours(state, prior)


def _with(state: UnitState, path: str) -> List[int]:
    """Return the processes of the unit that have this file loaded."""
    return sorted({one.pid for one in loaded(state, [family_of(path)]) if one.path == path})


def _has_ours(state: UnitState, prior: JsonMapping) -> bool:
    """Tell whether a process of the unit has our file loaded, or our folder in its search path."""
    paths = ((environment_of(who.pid) or {}).get(VARIABLE, "") for who in members(state))
    return bool(_with(state, _file(prior).path)) or any(_folder(prior).folder in path.split(":") for path in paths)


def _may_have_ours(state: UnitState, prior: JsonMapping) -> bool:
    """Tell the same, where a start whose process is not there yet or any more counts as ours."""
    return not members(state) or _has_ours(state, prior)


def _own_files(params: ShadowParams, state: UnitState) -> List[str]:
    """Return the files of that library's name that the unit has loaded; NoEffect where there is none."""
    family = family_of(params.file)
    found = sorted({one.path for one in loaded(state, [family])})
    if not found:
        raise NoEffect(
            f"No process of {state.id} has {family} loaded now, so nobody would ask for {params.file}: ask when the "
            "service has answered a request."
        )
    return found


def _asked_for(path: str) -> str:
    """Return the name that programs ask for: the file's, with no more of its version than the first number."""
    name = path.rpartition("/")[2]
    stem, _, version = name.partition(".so.")
    return f"{stem}.so.{version.partition('.')[0]}" if version else name


def _search_path(state: UnitState) -> Optional[str]:
    main = state.main_process()
    found = None if main is None else environment_of(main.pid)
    if found is None:
        raise Refused(f"{state.id} has no main process whose environment could be read: nobody could put it back.")
    path = found.get(VARIABLE)
    if path is not None and not printable(path):
        raise Refused(f"The {VARIABLE} of {state.id} cannot be written into a drop-in: {path!r}. Nothing was touched.")
    return path


def _file(prior: JsonMapping) -> LibraryFile:
    return LibraryFile.from_json(values.mapping(prior, "file"))


def _folder(prior: JsonMapping) -> SearchFolder:
    return SearchFolder.from_json(values.mapping(prior, "folder"))


def _drop_in(prior: JsonMapping) -> DropIn:
    return DropIn.from_json(values.mapping(prior, "drop_in"))


def _life(params: ShadowParams, prior: JsonMapping, context: Context) -> Life:
    return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context)
