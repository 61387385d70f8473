# SPDX-License-Identifier: Apache-2.0
"""What a drill keeps on a host, in a folder of its name under the state root; and who may have it changed.

A drill is named, never a path: whoever may ask must not be able to have root write or remove what he likes.
"""

import os
import re
from pathlib import Path

from chaosgpu.agent import values
from chaosgpu.agent.claims import Claims, Owner
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import BadRequest, Forbidden, Halted, Refused
from chaosgpu.agent.halt import RUN_HALT
from chaosgpu.agent.packages.snapshot import drop
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.policy import SYSTEM_POLICY, read_policy
from chaosgpu.agent.store import read_document, write_document
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = [
    "HOME", "PROVISION", "drill_of", "folder_of", "forget_old", "is_over", "known", "note", "over", "permit",
    "refuse_busy",
]  # fmt: skip

HOME = "/var/lib/chaosgpu"
PROVISION = "+provision"  # no drill can have this name
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,59}")
_DOCUMENT, _OVER = "drill", "over"
_MOST_KEPT = 20
_RULE = "package.install"


def drill_of(request: JsonMapping) -> str:
    """Return the drill that is meant."""
    drill = values.text(request, "drill")
    if not _ID.fullmatch(drill):
        raise BadRequest(f"A drill's id has up to 60 letters, digits, '.', '_' and '-', no '.' first, not {drill!r}.")
    return drill


def folder_of(tools: Tools, drill: str) -> Path:
    """Return where a drill's snapshot lies."""
    return tools.path(f"{HOME}/lifecycle/{drill}")


def known(folder: Path) -> JsonObject:
    """Return what was noted with a snapshot; empty where there is no whole one."""
    return read_document(str(folder), _DOCUMENT) or {}


def note(folder: Path, body: JsonObject) -> None:
    """Write it; a snapshot without it does not count."""
    write_document(str(folder), _DOCUMENT, body)


def permit(tools: Tools, *, lasting: bool = False) -> None:
    """Refuse to change packages where the host's policy would refuse the fault that does.

    `lasting`: for good, which no approval of a drill covers. What a drill has changed under one may always go back.
    """
    if "CHAOSGPU_AGENT_HOME" in os.environ:
        raise Forbidden(
            f"Under CHAOSGPU_AGENT_HOME={os.environ['CHAOSGPU_AGENT_HOME']} no package of this host is touched. Unset "
            "the variable to work under the host's own policy."
        )
    if tools.root == "/" and os.geteuid() != 0:
        raise Refused(f"Only root may change packages, and this agent runs as user {os.geteuid()}.")
    policy = read_policy(str(tools.path(SYSTEM_POLICY)), os.geteuid())
    policy.allow(_RULE, 0.0)
    if lasting and policy.approvals is not None:
        raise Forbidden(
            "This host's policy demands approvals, and a change of packages for good is no drill that has one. Whoever "
            'answers for this host sets "required" to false under "approvals" for the time of it.'
        )
    for name in (f"{HOME}/HALT", RUN_HALT):
        if os.path.lexists(tools.path(name)):
            raise Halted(f"This host was halted ({name} is there): resume it with a reason first (chaosgpu resume).")


def refuse_busy(tools: Tools) -> None:
    """Refuse while a lease holds the packages of this host: what it has changed is nobody's baseline."""
    claims = Claims(str(tools.path("/var/tmp")), SystemClock())  # noqa: S108 (where claims are)
    if os.path.lexists(claims.path("dpkg:database")):
        claims.refuse_held(("dpkg:database",), Owner("", ""), lambda _: None)


def is_over(folder: Path) -> bool:
    """Tell whether nobody needs a snapshot any more."""
    return (folder / _OVER).exists()


def over(folder: Path) -> None:
    """Note that nobody needs it any more: it may go when there are many."""
    if not is_over(folder):
        write_document(str(folder), _OVER, {})


def forget_old(folder: Path) -> None:
    """Remove the oldest snapshots of drills that are over, beside this one."""
    if not folder.parent.is_dir():
        return
    ended = [other for other in folder.parent.iterdir() if other != folder and is_over(other)]
    for other in sorted(ended, key=lambda path: path.stat().st_mtime)[:-_MOST_KEPT]:
        drop(other)
