# SPDX-License-Identifier: Apache-2.0
"""unit.files.vanish: a service starts and files of its own are not there, such as the index of a vector database."""

from chaosgpu.agent import values
from chaosgpu.agent.faults.unit_files import FilesParams, UnitFiles, parse_files
from chaosgpu.agent.values import JsonMapping


class UnitFilesVanish(UnitFiles[FilesParams]):
    """A lost index."""

    name = "unit.files.vanish"
    summary = "Stops a systemd service, sets files of its own aside and starts it; the undo puts them back likewise."
    refuses = (
        "a unit that is not active or has no process; one that takes other active units down with it, or that an "
        "active socket, path or timer would start again; a path that leads by a link, is no plain file with one name, "
        "or is mounted by itself; a file that is not known to be the unit's own: of another user than its "
        "processes', below no folder that they work in, seen differently by the unit, or open in a process of others; "
        "whatever is below /etc, /usr, /boot and their like or the agent's own folder, or was set aside by another "
        "lease; file systems of several hosts or in memory; an agent whose records are in memory; the host's own and "
        "protected units"
    )
    traps = (
        "It restarts the service twice, and what was in its memory is lost. A service may make an empty file anew, "
        "end, or be started again and again: each is the effect, and `observed` says which. What it writes to these "
        "files while they are aside is gone with the undo, and what it writes elsewhere stays: a database may have "
        "rows that the index which is back does not have, so let no writes be kept that matter. Files are named one "
        "by one, so that the record names each before it is touched. A service that is not down 20 s after its stop is "
        "not touched further and started again. While the files are aside a backup takes them under another name."
    )

    def parse(self, raw: JsonMapping) -> FilesParams:
        """Read the values alone."""
        values.only(raw, self.name, self.keys())
        return parse_files(raw)
