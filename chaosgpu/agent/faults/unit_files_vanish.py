# SPDX-License-Identifier: Apache-2.0
"""unit.files.vanish: a service starts and files of its own are not there, such as the index of a vector database."""

import os
from dataclasses import dataclass
from typing import Dict, List

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused, Unverified
from chaosgpu.agent.faults.known_file import opened_folder
from chaosgpu.agent.faults.unit_files import FilesParams, UnitFiles, parse_files
from chaosgpu.agent.values import JsonMapping


@dataclass(frozen=True)
class VanishParams(FilesParams):
    """Whether the folders of these files go, too: they must have no others in them."""

    folders: bool

    def by_folder(self) -> Dict[str, List[str]]:
        """Return the names of the files, by the folder that each is in."""
        found: Dict[str, List[str]] = {}
        for folder, _, name in (path.rpartition("/") for path in self.files):
            found.setdefault(folder, []).append(name)
        return found


class UnitFilesVanish(UnitFiles[VanishParams]):
    """A lost index."""

    name = "unit.files.vanish"
    summary = "Stops a systemd service, sets files of its own aside and starts it; the undo puts them back likewise."
    more_keys = frozenset({"folders"})
    refuses = (
        "a unit that is not active or has no process; one that takes other active units down with it, or that an "
        "active socket, path or timer would start again; a path that leads by a link, is no plain file with one name, "
        "or is mounted by itself; a file that is not known to be the unit's own: of another user than its "
        "processes', below no folder that they work in, seen differently by the unit, or open in a process of others; "
        "whatever is below /etc, /usr, /boot and their like or the agent's own folder, or was set aside by another "
        "lease; file systems of several hosts or in memory; an agent whose records are in memory; with `folders` "
        "a folder with others in it; the host's own and protected units"
    )
    traps = (
        "It restarts the service twice, and what was in its memory is lost. A service may make an empty file anew, "
        "end, or be started again and again: each is the effect, and `observed` says which. What it writes to these "
        "files while they are aside is gone with the undo, and what it writes elsewhere stays: a database may have "
        "rows that the index which is back does not have, so let no writes be kept that matter. Files are named one "
        "by one, so that the record names each before it is touched. A service that is not down 20 s after its stop is "
        "not touched further and started again. While the files are aside a backup takes them under another name."
    )

    def parse(self, raw: JsonMapping) -> VanishParams:
        """Read the values alone."""
        values.only(raw, self.name, self.keys())
        found = parse_files(raw)
        folders = values.flag(raw, "folders", default=False)
        return VanishParams(found.unit, found.files, found.back_within_s, folders)

    def refuse_more(self, params: VanishParams) -> None:
        """Refuse folders that would not be empty."""
        for folder, named in params.by_folder().items() if params.folders else ():
            others = sorted({*os.listdir(folder)} - {*named})  # noqa: PTH208 (pathlib costs 9 ms at start)
            if others:
                raise Refused(
                    f"{folder} has others in it than the files that were named ({', '.join(others[:5])}), so it cannot "
                    "vanish with them: name all of them, or leave folders out. Nothing was touched."
                )

    def finish(self, params: VanishParams) -> None:
        """Remove the folders, which are empty now; the undo makes them again."""
        if not params.folders:
            return
        try:
            for folder in params.by_folder():
                above, _, name = folder.rpartition("/")
                with opened_folder(above) as opened:
                    os.rmdir(name, dir_fd=opened)
                    os.fsync(opened)
        except OSError as error:
            raise Unverified(f"{folder} could not be removed once its files were aside: {error.strerror}.") from error
