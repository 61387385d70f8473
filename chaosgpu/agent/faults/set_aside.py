# SPDX-License-Identifier: Apache-2.0
"""All files that one lease sets aside: noted in its folder before the first is renamed, put back all or none."""

import contextlib
import os
from dataclasses import dataclass
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.aside import ASIDE, CHANGED, GONE, IN_PLACE, Aside
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.known_file import Original
from chaosgpu.agent.faults.unit_life import marked, note
from chaosgpu.agent.store import read_document, sync_folder, write_document
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["DIGESTED_BYTES", "NOTE", "SetAside", "asides_in", "lease_of", "state_root"]

NOTE = "unit-set-aside"  # in the lease's folder
DIGESTED_BYTES = 256 << 20  # about a second's work
_HOME = "/var/lib/chaosgpu"


@dataclass(frozen=True)
class SetAside:
    """The files of one lease, and where their note is."""

    files: Tuple[Aside, ...]
    lease_dir: Optional[str]

    @classmethod
    def of(cls, prior: JsonMapping, context: Context) -> "SetAside":
        """Read them from the lease's record."""
        return cls(asides_in(prior), context.lease_dir)

    def note(self) -> List[Tuple[Aside, Original]]:
        """Note what each file is, durable when this returns; nobody may write to them any more."""
        if self.lease_dir is None:
            raise Refused("Without a lease's folder nobody could note which files are aside; nothing was renamed.")
        for place, top in {one.place: os.path.dirname(one.place) for one in self.files}.items():  # noqa: PTH120 (pathlib costs 9 ms at start)
            os.mkdir(place, 0o700)  # noqa: PTH102 (as above)
            sync_folder(top)
        size = sum(os.stat(one.path, follow_symlinks=False).st_size for one in self.files)  # noqa: PTH116 (as above)
        found = [(one, one.original(digested=size <= DIGESTED_BYTES)) for one in self.files]
        write_document(self.lease_dir, NOTE, {"files": [original.to_json() for _, original in found]})
        return found

    def noted(self) -> List[Tuple[Aside, Original]]:
        """Return each with what it was; none before the note, when nothing has been renamed."""
        found = None if self.lease_dir is None else read_document(self.lease_dir, NOTE)
        entries: JsonValue = None if found is None else found.get("files")
        if not isinstance(entries, list):
            return []
        originals = [Original.from_json(entry) for entry in entries if isinstance(entry, dict)]
        return list(zip(self.files, originals))

    def aside(self) -> bool:
        """Tell whether an original is aside."""
        return any(one.how(original) == ASIDE for one, original in self.noted())

    def wrong(self) -> List[str]:
        """Say of each original that is not to be had what is wrong with it."""
        told = {
            GONE: "{} is not the file that it was, or not there, and {} is not there, or not to be reached (inode {}).",
            CHANGED: "The file of {} lies at {} and is not as it was (inode {}): somebody has changed or exchanged it.",
        }
        hows = [(one, original, one.how(original)) for one, original in self.noted()]
        return [told[how].format(one.path, one.aside, was.inode) for one, was, how in hows if how in told]

    def put_back(self, context: Context) -> None:
        """Put every original back; note over what."""
        for number, (one, original) in enumerate(self.noted()):
            if one.how(original) != IN_PLACE and one.stands_in(original) is not None:
                note(context, _replaced(number))
            one.put_back(original)

    def tidy(self) -> None:
        """Remove unfinished copies, second names and folders of ours that are empty."""
        originals = {one.path: original for one, original in self.noted()}
        for one in self.files:
            one.tidy(originals.get(one.path))
        for place in self.left():
            with contextlib.suppress(OSError):  # it has something in it, which is told
                os.rmdir(place)  # noqa: PTH106 (as above)
                sync_folder(os.path.dirname(place))  # noqa: PTH120 (as above)

    def left(self) -> List[str]:
        """Name the folders of ours that are still there."""
        return sorted(place for place in {one.place for one in self.files} if os.path.lexists(place))

    def refuse_taken(self) -> None:
        """Refuse where something lies under the name of a folder of ours: an undo must never meet it."""
        for place in self.left():
            raise Refused(f"{place} is there already and is not ours to write into; nothing was changed.")

    def shown(self, context: Context) -> JsonObject:
        """Return where each original is, and what of the time between is gone with its file."""
        noted = self.noted()
        gone: List[JsonValue] = [one.path for at, (one, _) in enumerate(noted) if marked(context, _replaced(at))]
        files: JsonObject = {one.path: one.how(original) for one, original in noted}
        said = "what the unit had written to these meanwhile, or found there, is gone: the original is back"
        return {"files": files, **({"replaced": gone, "note": said} if gone else {})}


def asides_in(prior: JsonMapping) -> Tuple[Aside, ...]:
    """Read from a lease's record which files it sets aside, and where."""
    found = prior.get("files")
    entries = found if isinstance(found, list) else []
    return tuple(Aside.from_json(values.mapping({"file": entry}, "file")) for entry in entries)


def lease_of(context: Context) -> str:
    """Return the lease's id, which the names of what is aside carry."""
    return os.path.basename(context.lease_dir or "none")  # noqa: PTH119 (as above)


def state_root(context: Context) -> str:
    """Return the agent's own folder."""
    return _HOME if context.lease_dir is None else os.path.dirname(os.path.dirname(context.lease_dir))  # noqa: PTH120 (as above)


def _replaced(number: int) -> str:
    return f"files-replaced-{number}"
