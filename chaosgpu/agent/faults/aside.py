# SPDX-License-Identifier: Apache-2.0
"""A file that is set aside: renamed into a folder of ours, never written, and put back by a rename.

The folder is in the highest folder of the same file system, and root's alone: Milvus Lite removes, as it starts, what
it does not know among its own files, and so it did with an original that lay beside its name. What the file was is
noted once nobody writes to it any more, and before it is renamed.
"""

import contextlib
import os
import stat
from dataclasses import asdict, dataclass
from typing import Optional

from chaosgpu.agent import typed
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults.known_file import Original, digest_of, opened_folder, status
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["ASIDE", "CHANGED", "GONE", "IN_PLACE", "PREFIX", "Aside"]

PREFIX = "chaosgpu-aside-"
_COPY, _NEW = ".copy", ".folder"
IN_PLACE, ASIDE, GONE, CHANGED = "in place", "aside", "gone", "changed"


@dataclass(frozen=True)
class Aside:
    """Where a file belongs, and the path at which this lease sets it aside."""

    path: str
    aside: str

    @classmethod
    def of(cls, path: str, top: str, lease: str, number: int) -> "Aside":
        """Lay out the path: on the same file system, so that a rename is all there is to it."""
        return cls(path, f"{top.rstrip('/')}/{PREFIX}{lease}/{number}")

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Aside":
        """Read it back from the lease's record."""
        return typed.read(cls, source)

    def to_json(self) -> JsonObject:
        """Return it for the lease's record."""
        return {**asdict(self)}

    @property
    def name(self) -> str:
        """Return its own name in its own folder."""
        return os.path.basename(self.path)  # noqa: PTH119 (pathlib costs 9 ms at start)

    @property
    def folder(self) -> str:
        """Return the folder that it belongs in."""
        return os.path.dirname(self.path)  # noqa: PTH120 (as above)

    @property
    def place(self) -> str:
        """Return the folder of ours."""
        return os.path.dirname(self.aside)  # noqa: PTH120 (as above)

    @property
    def hidden(self) -> str:
        """Return its name in the folder of ours."""
        return os.path.basename(self.aside)  # noqa: PTH119 (as above)

    @property
    def copy(self) -> str:
        """Return the name, there, of a copy that is being made."""
        return self.hidden + _COPY

    @property
    def new(self) -> str:
        """Return the name, there, of a folder that is being made."""
        return self.hidden + _NEW

    def original(self, *, digested: bool) -> Original:
        """Note which file lies there; Refused where it is none, or has other names."""
        with opened_folder(self.folder) as folder:
            found, above = status(folder, self.name), os.fstat(folder)
            if found is None or not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise Refused(f"{self.path} is no plain file with one name any more, so it was not set aside.")
            sha256 = digest_of(folder, self.name) if digested else ""
        of_folder = (above.st_uid, above.st_gid, stat.S_IMODE(above.st_mode))
        return Original(found.st_ino, found.st_size, found.st_mtime_ns, *of_folder, sha256)

    def put_aside(self, original: Original) -> None:
        """Rename it, durable when this returns."""
        with opened_folder(self.folder) as folder, opened_folder(self.place) as place:
            found = status(folder, self.name)
            if found is None or found.st_ino != original.inode or status(place, self.hidden) is not None:
                raise Refused(f"{self.path} was exchanged while it was set aside.")
            os.rename(self.name, self.hidden, src_dir_fd=folder, dst_dir_fd=place)
            os.fsync(place)
            os.fsync(folder)

    def how(self, original: Original) -> str:
        """Tell where the original is: in its place, aside, aside and changed, or in neither place."""
        found = self._found()
        if found is not None and found.st_ino == original.inode:
            return IN_PLACE
        try:
            with opened_folder(self.place) as place:
                aside = status(place, self.hidden)
                if aside is None:
                    return GONE
                return ASIDE if original.is_at(place, self.hidden, aside) else CHANGED
        except (FileNotFoundError, NotADirectoryError):
            return GONE

    def put_back(self, original: Original) -> None:
        """Rename it back over whatever stands under its name, durable when this returns."""
        self._make_folders(original)
        with opened_folder(self.folder) as folder, opened_folder(self.place) as place:
            aside = status(place, self.hidden)
            if aside is not None and aside.st_ino == original.inode:
                os.rename(self.hidden, self.name, src_dir_fd=place, dst_dir_fd=folder)
            os.fsync(folder)
            os.fsync(place)

    def stands_in(self, original: Original) -> Optional[os.stat_result]:
        """Return what stands under its name and is not the original; None where nothing does."""
        found = self._found()
        return None if found is None or found.st_ino == original.inode else found

    def tidy(self, original: Optional[Original]) -> None:
        """Remove from the folder of ours what is half made, and a second name of an original that is in its place."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened_folder(self.place) as place:
            found = self._found()
            for name in (self.copy, self.hidden):
                ours = status(place, name)
                of_original = original is not None and ours is not None and ours.st_ino == original.inode
                in_place = of_original and found is not None and found.st_ino == ours.st_ino  # type: ignore[union-attr]
                if ours is not None and (in_place or (name == self.copy and not of_original)):
                    os.unlink(name, dir_fd=place)
            if status(place, self.new) is not None:
                os.rmdir(self.new, dir_fd=place)

    def _found(self) -> Optional[os.stat_result]:
        try:
            with opened_folder(self.folder) as folder:
                return status(folder, self.name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _make_folders(self, original: Original) -> None:
        """Make the folder anew that it lay in, where the service or the fault has removed that, or what it was in.

        Each is made ready among ours first, and renamed: nobody who dies leaves one that the service cannot enter.
        """
        missing, above = [], self.folder
        while not os.path.isdir(above):  # noqa: PTH112 (as above)
            missing.append(above)
            above = os.path.dirname(above)  # noqa: PTH120 (as above)
        for path in reversed(missing):
            parent, _, name = path.rpartition("/")
            with opened_folder(parent) as folder, opened_folder(self.place) as place:
                if status(place, self.new) is None:
                    os.mkdir(self.new, 0o700, dir_fd=place)
                with opened_folder(f"{self.place}/{self.new}") as made:
                    os.fchown(made, original.folder_user, original.folder_group)
                    os.fchmod(made, original.folder_mode)
                os.rename(self.new, name, src_dir_fd=place, dst_dir_fd=folder)
                os.fsync(folder)
