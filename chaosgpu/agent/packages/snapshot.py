# SPDX-License-Identifier: Apache-2.0
"""A host's packages before a change, whole in one folder: both sides' package files, marks, files of /etc, fingerprint.

snapshot      what follows, written last, once, under a checksum
before/ after/  the package files of both sides     etc/  files of /etc by their digest
changed       how the files of /etc stood right after the change: whoever edits them later is told apart from it
dkms/kept     what DKMS had built: it is put back, not compiled again
tmp/          what programs put down for a moment while all this is kept: whoever is killed leaves it here
"""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import AgentError, Refused, StoreFailed
from chaosgpu.agent.packages import dkms, initramfs
from chaosgpu.agent.packages.brought import Brought, brought
from chaosgpu.agent.packages.dkms_stand_in import KEPT
from chaosgpu.agent.packages.facts import Facts
from chaosgpu.agent.packages.files import changed_by_somebody, conffiles, content_digest, managed, owned
from chaosgpu.agent.packages.fingerprint import fingerprint
from chaosgpu.agent.packages.plan import Change, Plan, refuse_unfinished
from chaosgpu.agent.packages.saved import keep
from chaosgpu.agent.packages.stage import Staged, refuse_full, same_build, stage
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.store import Damaged, read_document, sync_folder, write_document
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["Snapshot", "changed_files", "drop", "forget_others", "load", "note_changed_files", "shed", "take"]

_NAME, _CHANGED, _DKMS, _SCRATCH = "snapshot", "changed", "dkms", "tmp"
_FORM = 1
_LARGEST_BYTES = 3 << 20


@dataclass(frozen=True)
class Snapshot:
    """What a way back needs. `files` maps a side and a package to its file."""

    folder: Path
    machine: str
    changes: Tuple[Change, ...]
    before: Dict[str, Staged]
    after: Dict[str, Staged]
    fingerprint: JsonObject
    kept: JsonObject
    brought: Brought
    module: Optional[str]
    module_source: Optional[str]
    built: JsonObject

    @property
    def names(self) -> Tuple[str, ...]:
        """The packages that the change is about."""
        return tuple(change.name for change in self.changes)

    @property
    def watched(self) -> Tuple[str, ...]:
        """Their configuration files, as they were listed, and what the change brings."""
        listed = {key.split(" ", 1)[1] for key in values.mapping(self.fingerprint, "conffiles")}
        return tuple(sorted({*listed, *self.brought.files}))

    @property
    def dkms(self) -> Path:
        """Where what DKMS had built is kept, and what stands before it on the way back."""
        return self.folder / _DKMS

    def file(self, side: str, staged: Staged) -> str:
        """Return the path of a package file that is still what was kept; StoreFailed where it is not."""
        path = self.folder / side / staged.file
        if not path.is_file() or content_digest(path) != staged.sha256:
            raise StoreFailed(
                f"{path} is not what was kept there (SHA-256 {staged.sha256}), so it is not installed. Bring that file "
                "back from another host's cache or a mirror, then undo again."
            )
        return str(path)


def take(tools: Tools, folder: Path, found: Plan, facts: Facts, brings: Optional[Mapping[str, str]] = None) -> Snapshot:
    """Keep everything that the change and the way back need; nothing of the host is changed.

    `brings`: files that are not there and that the change makes itself, with what makes sure that one is that one.
    Refused where the host is not in a state that package files can bring back.
    """
    refuse_unfinished(facts)
    before, after = _sides(found)
    edited = changed_by_somebody(tools, sorted(before))
    if edited:
        raise Refused(
            f"{', '.join(edited[:5])} is not as its package has it, and no package file would bring that back: "
            "reinstall the package first; nothing was changed."
        )
    sources = _sources(tools, facts, before)
    refuse_full(tools, folder, [*before.items(), *after.items()], dkms.room_bytes(tools, sources))
    drop(folder)
    scratch = folder / _SCRATCH
    folder.mkdir(mode=0o700, parents=True)
    scratch.mkdir(mode=0o700)
    try:
        _keep_all(replace(tools, scratch=str(scratch)), folder, found, facts, brings or {})
        drop(scratch)
    except (AgentError, OSError):
        drop(folder)  # half of it is of no use, and the disk may be full of it
        raise
    return load(tools, folder)


def _sources(tools: Tools, facts: Facts, names: Iterable[str]) -> List[str]:
    """Return the folders of DKMS sources that these packages have."""
    owning = (facts.packages[name] for name in names if name in facts.packages)
    found = {dkms.source_of(path) for one in owning for path in owned(tools, one)}
    return sorted(found - {""})


def _sides(found: Plan) -> Tuple[Dict[str, str], Dict[str, str]]:
    before = {change.name: change.before for change in found.moving if change.before is not None}
    return before, {change.name: change.after for change in found.moving if change.after is not None}


def _keep_all(tools: Tools, folder: Path, found: Plan, facts: Facts, brings: Mapping[str, str]) -> None:
    before, after = _sides(found)
    native = tools.native()
    old = stage(tools, folder / "before", before, native)
    new = stage(tools, folder / "after", after, native)
    files = {name: folder / "before" / one.file for name, one in old.items()}
    other = [name for name, path in files.items() if not same_build(tools, path, facts.packages[name])]
    if other:
        raise Refused(
            f"The package file of {', '.join(sorted(other))} that can be had is another build than the one that is "
            "installed, though its version is the same; nothing was changed."
        )
    there = [facts.packages[change.name] for change in found.changes if change.before is not None]
    listed = [path for one in there for path, _ in conffiles(tools, one)]
    coming = brought(tools, [folder / "after" / one.file for one in new.values()])
    coming = Brought({**coming.files, **brings}, coming.folders)
    listed += coming.files
    kept = keep(tools, folder / "etc", managed(tools, listed))
    stands = fingerprint(tools, facts, [change.name for change in found.changes], listed)
    sources = _sources(tools, facts, before)
    built = dkms.keep(tools, folder / _DKMS / KEPT, sources)
    if initramfs.concerns([*listed, *(path for one in there for path in owned(tools, one))]):
        stands["initramfs"] = {**initramfs.contents(tools, folder)}
    body: JsonObject = {
        "form": _FORM,
        "machine": _machine(tools),
        "changes": [asdict(change) for change in found.changes],
        "before": {name: asdict(one) for name, one in old.items()},
        "after": {name: asdict(one) for name, one in new.items()},
        "fingerprint": stands,
        "kept": kept,
        "brought": {**coming.files},
        "folders": [*coming.folders],
        "module": facts.module,
        "module_source": facts.module_source,
        "built": built,
    }
    if len(str(body)) > _LARGEST_BYTES:
        raise Refused("The packages have too many files for one snapshot; nothing was changed.")
    write_document(str(folder), _NAME, body)
    sync_folder(str(folder.parent))


def load(tools: Tools, folder: Path) -> Snapshot:
    """Read a snapshot back; Damaged where one byte of it is not as written, or it is another host's."""
    body = read_document(str(folder), _NAME)
    if body is None or body.get("form") != _FORM:
        raise Damaged(f"There is no snapshot of packages in {folder}, so nobody knows how they were.")
    if body.get("machine") != _machine(tools):
        raise Damaged(f"The snapshot in {folder} was taken on another host, and is not put on this one.")
    rows = body.get("changes")
    changes = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    module = values.optional_text(body, "module")
    return Snapshot(
        folder,
        values.text(body, "machine"),
        tuple(_change(row) for row in changes),
        _staged(body, "before"),
        _staged(body, "after"),
        values.mapping(body, "fingerprint"),
        values.mapping(body, "kept"),
        _brought(body),
        module,
        values.optional_text(body, "module_source"),
        values.mapping(body, "built"),
    )


def note_changed_files(tools: Tools, snapshot: Snapshot) -> None:
    """Write down how the files of /etc stand right after the change."""
    write_document(str(snapshot.folder), _CHANGED, {**managed(tools, snapshot.watched)})


def changed_files(snapshot: Snapshot) -> Optional[JsonObject]:
    """Return how they stood; None where the change was broken off before that was known."""
    return read_document(str(snapshot.folder), _CHANGED)


def drop(folder: Path) -> None:
    """Remove a snapshot that nobody needs any more."""
    if folder.exists():
        shutil.rmtree(folder)


def shed(snapshot: Snapshot) -> None:
    """Remove the package files of a snapshot that has been reached, and its modules: telling so again needs neither."""
    for side in ("before", "after", _DKMS, _SCRATCH):
        drop(snapshot.folder / side)


def forget_others(folder: Path) -> None:
    """Remove the snapshots beside this one; whoever calls it holds the claim on dpkg, so nobody needs them."""
    if folder.parent.is_dir():
        for other in folder.parent.iterdir():
            if other != folder:
                drop(other)


def _machine(tools: Tools) -> str:
    try:
        return tools.path("/etc/machine-id").read_text(encoding="ascii").strip() or "none"
    except OSError:
        return "none"


def _brought(body: JsonMapping) -> Brought:
    files, folders = values.mapping(body, "brought"), body.get("folders")
    named = [str(name) for name in folders] if isinstance(folders, list) else []
    return Brought({name: values.text(files, name) for name in files}, tuple(named))


def _change(row: JsonMapping) -> Change:
    return Change(
        values.text(row, "name"),
        values.optional_text(row, "before"),
        values.optional_text(row, "after"),
        values.text(row, "kind"),
    )


def _staged(body: JsonMapping, side: str) -> Dict[str, Staged]:
    found = {}
    for name in values.mapping(body, side):
        row = values.mapping(values.mapping(body, side), name)
        found[name] = Staged(*(values.text(row, key) for key in ("name", "version", "file", "sha256")))
    return found
