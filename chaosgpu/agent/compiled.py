# SPDX-License-Identifier: Apache-2.0
"""Whether this agent's code comes from what `agent.pyz compile` wrote beside its file, which Python loads faster.

Only the verbs that change nothing use it: what arms, watches and undoes comes from the one file whose digest is
checked, and needs nothing beside it. It is used only where its folder is named after the file's digest and belongs to
the file's owner, who alone may write to it. Each such verb loads this module first, and uncompiled: it stays small.
"""

import hashlib
import os
import stat
import sys

__all__ = ["READS", "folder_of", "only_of", "prefer"]

READS = frozenset({"doctor", "facts", "list", "read", "record"})
_PLACE = "compiled"


def prefer(agent: str) -> bool:
    """Let modules that are imported from now on come from the compiled folder, if there is one to be trusted."""
    folder = folder_of(agent)
    owner = os.stat(agent).st_uid  # noqa: PTH116 (pathlib costs 9 ms at start)
    if not (only_of(owner, os.path.dirname(folder)) and only_of(owner, folder)):  # noqa: PTH120 (as above)
        return False
    sys.modules["chaosgpu.agent"].__path__.insert(0, f"{folder}/chaosgpu/agent")
    sys.path.insert(0, folder)
    return True


def folder_of(agent: str) -> str:
    """Return where the compiled code of this very file belongs."""
    with open(agent, "rb") as file:  # noqa: PTH123 (as above)
        digest = hashlib.sha256(file.read()).hexdigest()
    where = os.path.dirname(agent)  # noqa: PTH120 (as above)
    return f"{where}/{_PLACE}/{digest[:32]}-{sys.implementation.cache_tag}"


def only_of(owner: int, folder: str) -> bool:
    """Tell whether this is a folder of the owner's, and nobody else may write to it."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o022
