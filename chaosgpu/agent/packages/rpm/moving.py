# SPDX-License-Identifier: Apache-2.0
"""Both ways of a change, by rpm alone: no network, no lists of packages, and dnf's record of why each is there stays.

rpm ends what it has begun before it heeds a signal to end; killed it leaves packages in two versions, and files under
names of its own beside their places.
"""

import re
from pathlib import Path
from typing import Dict, Iterable, List, Sequence

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.packages.rpm.status import rows
from chaosgpu.agent.packages.snapshot import Snapshot, note_changed_files
from chaosgpu.agent.packages.tools import Tools

__all__ = ["brought", "put_in", "remove_beside", "remove_leavings", "rungs"]

_READ_S = 120.0
_FILES = "[%{FILEMODES}\\t%{FILEDIGESTS}\\t%{FILELINKTOS}\\t%{FILENAMES}\\n]"
_KIND, _FOLDER, _LINK = 0o170000, 0o040000, 0o120000
_INSTALL = ("-U", "--oldpackage", "--replacepkgs", "--replacefiles", "--nosignature")
_LEFT = re.compile(r";[0-9a-f]{8}")


def put_in(tools: Tools, snapshot: Snapshot, within_s: float) -> None:
    """Bring every package to its version after; Refused where rpm does not get through."""
    files = [snapshot.file("after", one) for one in snapshot.after.values()]
    gone = [change.name for change in snapshot.changes if change.after is None]
    said = None
    if gone:
        said = tools.run(("rpm", "-e", "--nodeps", *gone), within_s)
    if files and (said is None or said.well):
        said = tools.run(("rpm", *_INSTALL, *files), within_s)
    note_changed_files(tools, snapshot)
    if said is not None and not said.well:
        raise Refused(f"rpm did not get through with the change: {said.sentence()}.")


def rungs(files: Sequence[str], extra: Sequence[str]) -> List[List[Sequence[str]]]:
    """Return the calls of each rung of the way back: as rpm would have it, then with force.

    The second is for what a script of the later version does not let go, or a dependency that nothing fits.
    """
    gentle = [("rpm", *_INSTALL, *files)] if files else []
    gentle += [("rpm", "-e", *extra)] if extra else []
    forced = [("rpm", *_INSTALL, "--nodeps", "--nopreun", "--nopostun", *files)] if files else []
    forced += [("rpm", "-e", "--nodeps", "--noscripts", "--allmatches", *extra)] if extra else []
    return [[*gentle], [*forced]]


def brought(tools: Tools, packages: Iterable[Path]) -> "tuple[Dict[str, str], List[str]]":
    """Return the files and the folders that these package files hold, whether or not they are on the host."""
    files: Dict[str, str] = {}
    folders: List[str] = []
    for package in packages:
        said = tools.run(("rpm", "-qp", "--nosignature", "--qf", _FILES, str(package)), _READ_S)
        for mode, digest, target, name in rows(said.out, 4):
            kind = int(mode) & _KIND
            if kind == _FOLDER:
                folders.append(name)
            else:
                files[name] = f"link {target}" if kind == _LINK else f"sha256 {digest}"
    return files, folders


def remove_leavings(tools: Tools, packages: Iterable[Path]) -> None:
    """Remove what a killed rpm has left beside the files of these packages."""
    remove_beside(tools, brought(tools, packages)[0])


def remove_beside(tools: Tools, names: Iterable[str]) -> None:
    """Remove what a killed rpm has left beside these files: their names, a semicolon, and eight digits of its own."""
    for name in names:
        path = tools.path(name)
        for other in [*path.parent.iterdir()] if path.parent.is_dir() else ():
            if other.name.startswith(path.name) and _LEFT.fullmatch(other.name[len(path.name) :]):
                other.unlink()
