# SPDX-License-Identifier: Apache-2.0
"""The way forth: install the staged package files of a snapshot, and nothing but them; holds stay as they were."""

from typing import List

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.packages.facts import look
from chaosgpu.agent.packages.locks import wait_free
from chaosgpu.agent.packages.marks import set_wanted
from chaosgpu.agent.packages.plan import FORCES
from chaosgpu.agent.packages.policy import local_only
from chaosgpu.agent.packages.snapshot import Snapshot, note_changed_files
from chaosgpu.agent.packages.tools import Tools

__all__ = ["DPKG", "not_there", "put_in"]

LOCK_WITHIN_S = 30.0
# A configuration file that somebody has edited stays, one that nobody has edited follows its package.
DPKG = ("DPkg::Options::=--force-confdef", "DPkg::Options::=--force-confold", "DPkg::Use-Pty=0")


def put_in(tools: Tools, snapshot: Snapshot, within_s: float) -> None:
    """Bring every package to its version after; Refused where apt does not get through."""
    wait_free(tools, LOCK_WITHIN_S)
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import moving  # noqa: PLC0415 (most hosts are of the other kind)

        moving.put_in(tools, snapshot, within_s)
        return
    held = look(tools).held() & set(snapshot.names)
    policy = local_only(snapshot.folder)
    files = [snapshot.file("after", one) for one in snapshot.after.values()]
    gone = [f"{change.name}-" for change in snapshot.changes if change.after is None]
    if not files and not gone:
        note_changed_files(tools, snapshot)
        return
    lock = ("-o", f"DPkg::Lock::Timeout={LOCK_WITHIN_S:.0f}", *(part for option in DPKG for part in ("-o", option)))
    whole = () if gone else ("--no-remove",)  # what the plan does not remove is not removed
    words = tools.apt("apt-get", *policy, *lock, *FORCES, *whole, "install", *files, *gone)
    said = tools.run(words, within_s, read_back=True)
    # apt takes the hold of what it changes; the fault is to outlast whoever upgrades meanwhile.
    still = look(tools)
    set_wanted(tools, [(name, "hold") for name in sorted(held) if still.there(name) is not None])
    note_changed_files(tools, snapshot)
    if not said.well:
        raise Refused(f"apt did not get through with the change: {said.sentence()}.")


def not_there(tools: Tools, snapshot: Snapshot) -> List[str]:
    """Return each package that is not as the change would have it, as words for a sentence; none is: it is in force."""
    facts = look(tools)
    found = []
    for change in snapshot.changes:
        one = facts.there(change.name)
        version = None if one is None else one.version
        if version != change.after or (one is not None and not one.whole):
            state = "not there" if one is None else f"{one.version} {one.status}"
            found.append(f"{change.name} is {state}, not {change.after or 'gone'}")
    return found
