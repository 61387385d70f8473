# SPDX-License-Identifier: Apache-2.0
"""Who has a file open or in its memory, whatever name it was opened by; who cannot be looked at is not nobody."""

import os
from typing import Dict, List, Optional, Sequence, Set, Tuple

from chaosgpu.agent.errors import Unanswered

__all__ = ["holders", "link", "names", "text"]


def holders(paths: Sequence[str], except_pids: Set[int]) -> Dict[int, str]:
    """Return who has one of these files open or in its memory, and which; Unanswered where it cannot be seen."""
    wanted = {(found.st_dev, found.st_ino): path for path in paths for found in [os.stat(path, follow_symlinks=False)]}  # noqa: PTH116 (pathlib costs 9 ms at start)
    named = {(str(inode), os.path.basename(path)): path for (_, inode), path in wanted.items()}  # noqa: PTH119 (as above)
    found: Dict[int, str] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (as above)
        if entry.isdigit() and int(entry) not in except_pids:
            held = _held(int(entry), wanted, named)
            if held is not None:
                found[int(entry)] = held
    return found


def names(folder: str) -> List[str]:
    """Return the names in a folder of /proc; none where the process has ended."""
    try:
        return os.listdir(folder)  # noqa: PTH208 (as above)
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError as error:
        raise Unanswered(
            f"{folder} cannot be listed ({error.strerror}), so nobody knows what is open there."
        ) from error


def link(path: str) -> str:
    """Return where a link of /proc points; empty where that is not shown."""
    try:
        return os.readlink(path)  # noqa: PTH115 (a kernel link)
    except OSError:
        return ""


def text(path: str) -> str:
    """Return what a file of /proc says; empty where the process has ended."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 (as above)
            return file.read()
    except OSError:
        return ""


def _held(pid: int, wanted: Dict[Tuple[int, int], str], named: Dict[Tuple[str, str], str]) -> Optional[str]:
    for number in names(f"/proc/{pid}/fd"):
        try:
            found = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116 (as above)
        except OSError:
            continue  # it has closed it, or has ended
        held = wanted.get((found.st_dev, found.st_ino))
        if held is not None:
            return held
    for line in text(f"/proc/{pid}/maps").splitlines():
        words = line.split(None, 5)
        held = named.get((words[4], words[5].rpartition("/")[2])) if len(words) > 5 else None  # noqa: PLR2004 (the path is the sixth)
        if held is not None:
            return held
    return None
