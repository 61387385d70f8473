# SPDX-License-Identifier: Apache-2.0
"""What the faults on a unit's files share: the unit is stopped, its files are set aside, and it is started without.

It is stopped for both ways: a server that runs may write an empty index over the file that is put back, or go on with
what it has in memory. The undo stops it again, puts every original back by a rename, and starts it if it was up.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Dict, List, Optional, Tuple, TypeVar

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, NoEffect, Refused, Unverified
from chaosgpu.agent.faults import unit_own_files
from chaosgpu.agent.faults.aside import ASIDE, Aside
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.file_holders import holders
from chaosgpu.agent.faults.known_file import Original
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.set_aside import SetAside, lease_of, state_root
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, marked, note, refuse_company
from chaosgpu.agent.faults.unit_pause import Pause
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["FilesParams", "UnitFiles", "parse_files"]

INTERVAL_S = 0.3
MOST_FILES, MOST_LETTERS = 16, 2000  # a lease's state has to hold their names
_PUT = "files-put-back"


@dataclass(frozen=True)
class FilesParams(OnUnit):
    """Which unit and which of its files, and how long it may take to be up again."""

    files: Tuple[str, ...]
    back_within_s: float


Params = TypeVar("Params", bound=FilesParams)


class UnitFiles(Fault[Params]):
    """A unit that starts without files of its own, or with others in their place."""

    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "root"
    deadline_class = "slow"
    claimed = "the unit, by its canonical name, and each file, by its path"
    more_keys: ClassVar["frozenset[str]"] = frozenset()

    def replace(self, params: Params, one: Aside, original: Original, number: int) -> None:
        """Put something else under the name of a file that is aside now."""

    def finish(self, params: Params) -> None:
        """Do what is to be done once all are aside, before the unit is started."""

    def seen(self, params: Params, one: Aside, original: Original, number: int) -> str:  # noqa: ARG002 (for overriding)
        """Say what is under the name of a file that is aside."""
        return "missing" if one.stands_in(original) is None else "another file of the unit's"

    def refuse_more(self, params: Params) -> None:
        """Refuse what this fault cannot do with files that all of them could."""

    def keys(self) -> "frozenset[str]":
        """Return the names of all parameters."""
        return UNIT_KEYS | {"files", "back_within_s"} | self.more_keys

    def check(self, params: Params, context: Context) -> None:
        """Refuse a unit that is down or has company, and files that are not known to be its own."""
        state, systemd = unit_of(params, context), systemd_of(context)
        if not state.active:
            raise NoEffect(f"{state.id} is {state.text('ActiveState')}: nobody would miss its files.")
        refuse_company(state, systemd)
        home = state_root(context)
        _, kind = unit_own_files.mount_of(home)
        if kind in ("tmpfs", "ramfs"):
            raise Refused(
                f"{home} is on {kind}, so after a reboot nobody would know what is aside: move it to a disk. Nothing "
                "was touched."
            )
        unit_own_files.refuse_foreign(params.files, state, systemd, home)
        SetAside(_asides(params, context), None).refuse_taken()
        self.refuse_more(params)

    def claims(self, params: Params, context: Context) -> Tuple[str, ...]:
        """Name the unit and each file."""
        return (claim_of(unit_of(params, context)), *(f"file:{path}" for path in params.files))

    def capture(self, params: Params, context: Context) -> JsonObject:
        """Note which start of the unit this is, and the name under which each file will be aside."""
        files: List[JsonObject] = [one.to_json() for one in _asides(params, context)]
        return {**Before.of(unit_of(params, context)).to_json(), "files": [*files]}

    def inject(self, params: Params, prior: JsonMapping, context: Context) -> None:
        """Stop the unit, note what each file is, rename it, and start the unit."""
        pause, files = _pause(params, prior, context), SetAside.of(prior, context)
        pause.stop()
        held = holders(params.files, set())
        if held:
            raise Unverified(f"{pause.unit} is down and its files are open in {held}: they were not touched.")
        for number, (one, original) in enumerate(files.note()):
            one.put_aside(original)
            self.replace(params, one, original, number)
        self.finish(params)
        pause.start()

    def verify(self, params: Params, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See every original aside and none in its place, twice, and another start of the unit, however that ended."""
        pause, files = _pause(params, prior, context), SetAside.of(prior, context)
        life = pause.life
        pause.settle(params.back_within_s)
        for pause_s in (INTERVAL_S, 0.0):
            found: Dict[str, str] = {}
            for number, (one, original) in enumerate(files.noted()):
                how = one.how(replace(original, sha256=""))
                if how != ASIDE:
                    raise Unverified(f"{one.path} was set aside as {one.aside}, and the original is {how}.")
                found[one.path] = self.seen(params, one, original, number)
            state = life.now()
            if not found or life.same_start(state):
                raise Unverified(f"{pause.unit} was not started anew without its files.")
            context.clock.sleep(pause_s)
        return {
            "active_state": state.text("ActiveState"),
            "sub_state": state.text("SubState"),
            "result": state.text("Result"),
            "main_pid": state.main_pid,
            "files": {**found},
            "aside": [*files.left()],
        }

    def undo(self, params: Params, prior: JsonMapping, context: Context) -> None:
        """Stop the unit, put every original back, start it; nothing of it where an original is not to be had."""
        pause, files = _pause(params, prior, context), SetAside.of(prior, context)
        if files.wrong():
            return
        if files.aside():
            pause.be_down(params.back_within_s)
            note(context, _PUT)
            files.put_back(context)
            pause.be_down(params.back_within_s)  # where it was started meanwhile
        files.tidy()
        pause.end()

    def restored(self, params: Params, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See every original in its place, and the unit up, or down by somebody's hand."""
        pause, files = _pause(params, prior, context), SetAside.of(prior, context)
        wrong = files.wrong()
        if wrong:
            return Restored(clean=False, values=files.shown(context), by_hand=_by_hand(wrong, pause.unit))
        settled = pause.life.settled()
        settled = replace(settled, values={**settled.values, **files.shown(context)})
        by_somebody = [one.path for one, _ in files.noted()]
        if by_somebody and pause.has_started and not marked(context, _PUT):
            said = f"{', '.join(by_somebody)} was put back by somebody meanwhile; {pause.unit} was not restarted"
            settled = replace(settled, left_alone=(*settled.left_alone, said))
        if files.left():
            by_hand = f"Something lies in {', '.join(files.left())}: see what it is, move it away, then undo again."
            return replace(settled, clean=False, by_hand=" ".join(filter(None, (settled.by_hand, by_hand))))
        return settled


def parse_files(raw: JsonMapping) -> FilesParams:
    """Read what both faults have: a unit, the files one by one, and how long the unit may take."""
    found = raw.get("files")
    if not isinstance(found, list) or not found or len(found) > MOST_FILES:
        raise BadRequest(f"files must be a list of 1 to {MOST_FILES} absolute paths, not {found!r}.")
    files = tuple(values.text({"files": one}, "files") for one in found)
    for path in files:
        plain = path.startswith("/") and path.isprintable() and not path.endswith("/")
        if not plain or any(part in ("", ".", "..") for part in path[1:].split("/")):
            raise BadRequest(f"files must be absolute paths without '..', '//' and a last '/', not {path!r}.")
    if len(set(files)) < len(files) or sum(map(len, files)) > MOST_LETTERS:
        raise BadRequest(f"files must name each file once, in {MOST_LETTERS} letters in all.")
    return FilesParams(parse_unit(raw), files, back_within(raw))


def _asides(params: FilesParams, context: Context) -> Tuple[Aside, ...]:
    lease = lease_of(context)
    return tuple(Aside.of(path, unit_own_files.top_of(path), lease, at) for at, path in enumerate(params.files))


def _by_hand(wrong: List[str], unit: str) -> str:
    return (
        f"{' '.join(wrong)} Nothing was moved. Stop {unit} (`systemctl stop {unit}`), find each original, move it to "
        f"its path by `mv`, start {unit}, then undo again. One that is lost for good: restore it from a backup, then "
        "remove the lease's folder and the claims that name it."
    )


def _pause(params: FilesParams, prior: JsonMapping, context: Context) -> Pause:
    # A database that misses its index may end without an error: that is not somebody's stop.
    systemd, before = systemd_of(context), Before.from_json(prior)
    return Pause(Life(before, params.back_within_s, systemd, context, forgotten_is_stopped=False))
