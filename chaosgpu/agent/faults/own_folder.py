# SPDX-License-Identifier: Apache-2.0
"""A folder that is one user's own, and the plain files in it: nothing else in there is opened, and no link followed."""

import os
import stat

from chaosgpu.agent.errors import Forbidden, Refused

__all__ = ["open_folder", "open_plain"]


def open_folder(path: str, owner: int) -> int:
    """Open a folder that is this user's own and that nobody else may write; Forbidden where it is another."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise Forbidden(f"{path} is no folder of user {owner}'s own: {error.strerror}.") from error
    found = os.fstat(folder)
    if found.st_uid != owner or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(folder)
        raise Forbidden(
            f"{path} must belong to user {owner} and be writable for nobody else. It belongs to user {found.st_uid} "
            f"and has mode {stat.S_IMODE(found.st_mode):o}: mend it, or remove it."
        )
    return folder


def open_plain(path: str, flags: int, owner: int) -> int:
    """Open a plain file with one name, in such a folder; Refused where it is a link, a pipe, a device or not there."""
    folder, _, name = path.rpartition("/")
    directory = open_folder(folder, owner)
    try:
        # Looked at before it is opened: opening a device may do something.
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise Refused(f"{path} is no plain file with one name: it was not opened.")
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError as error:
        raise Refused(f"There is no file {path}.") from error
    finally:
        os.close(directory)
