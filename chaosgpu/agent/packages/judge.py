# SPDX-License-Identifier: Apache-2.0
"""Whether a host is as its snapshot has it: everything is read back, and what others did meanwhile is named."""

from dataclasses import dataclass
from typing import Dict, List, Set, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.packages.brought import is_that
from chaosgpu.agent.packages.facts import Facts, look
from chaosgpu.agent.packages.files import LEAVINGS, absent, conffiles, managed, owned
from chaosgpu.agent.packages.fingerprint import differences, digest_of, fingerprint
from chaosgpu.agent.packages.initramfs import contents
from chaosgpu.agent.packages.snapshot import Snapshot, changed_files
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonObject

__all__ = ["Verdict", "foreign_files", "judge", "strangers"]

_MOST_NAMED = 5
_LOGS = {"dpkg": "/var/log/apt/term.log", "rpm": "`rpm -Va` and `dnf check`"}
_MENDS = {"dpkg": "`dpkg --configure -a`", "rpm": "`dnf check`"}


@dataclass(frozen=True)
class Verdict:
    """How it stands: `as_before` only where nothing differs and the module that runs is the one that ran."""

    as_before: bool
    values: JsonObject
    left_alone: Tuple[str, ...]
    by_hand: str


def strangers(snapshot: Snapshot, facts: Facts) -> Dict[str, str]:
    """Return each package that somebody else has changed meanwhile, with a sentence about it.

    That is a version which neither side has, or the absence of one that both sides have: no step of ours leads there.
    """
    found = {}
    for change in snapshot.changes:
        one = facts.there(change.name)
        version = None if one is None else one.version
        if version not in (change.before, change.after):
            sides = f"{change.before or 'absent'} before and {change.after or 'absent'} by the fault"
            found[change.name] = (
                f"{change.name} is {version or 'not installed'}, and was {sides}: somebody changed it meanwhile, so it "
                "was left alone"
            )
    return found


def foreign_files(tools: Tools, snapshot: Snapshot, facts: Facts) -> Dict[str, str]:
    """Return each file of /etc that somebody edited after the change, with a sentence about it."""
    after = changed_files(snapshot)
    stood = values.mapping(snapshot.fingerprint, "managed")
    now = managed(tools, snapshot.watched)
    theirs = _files_of(tools, snapshot, facts, set(strangers(snapshot, facts)))
    coming = snapshot.brought.files
    found = {}
    for name in sorted({*stood, *now}):
        before, is_now = stood.get(name, absent), now.get(name, absent)
        if before == is_now or name.endswith(LEAVINGS):
            continue  # what dpkg leaves beside a configuration file is nobody's edit
        if name in theirs:
            found[name] = f"{name} belongs to a package that somebody changed meanwhile, so it was left alone"
        elif after is None and name not in stood:
            found[name] = f"{name} is new, and it cannot be told whose it is, so it was left alone"
        elif after is None and name in coming and not is_that(tools, name, coming[name]):
            found[name] = f"{name} is not what the change brings, so it was left alone"
        elif after is not None and is_now != after.get(name, absent):
            found[name] = f"{name} was edited by somebody after the change, so it was left alone"
    return found


def judge(tools: Tools, snapshot: Snapshot) -> Verdict:
    """Read everything back and compare it."""
    facts = look(tools)
    theirs = strangers(snapshot, facts)
    files = foreign_files(tools, snapshot, facts)
    now = fingerprint(tools, facts, snapshot.names, snapshot.watched)
    if "initramfs" in snapshot.fingerprint:
        stood = values.mapping(snapshot.fingerprint, "initramfs")
        now["initramfs"] = {**contents(tools, snapshot.folder, stood)}
    found = [row for row in differences(snapshot.fingerprint, now) if not _excused(row, set(theirs), set(files))]
    unfinished = [one for one in theirs if not _whole(facts, one)]
    wrong = _wrong(snapshot, facts, found, unfinished)
    told: JsonObject = {
        "fingerprint": digest_of(now),
        "differences": [*found[:_MOST_NAMED]],
        "module": facts.module,
        "reboot_needed": _runs_another(snapshot, facts),
    }
    return Verdict(not wrong, told, (*theirs.values(), *files.values()), " ".join(wrong))


def _wrong(snapshot: Snapshot, facts: Facts, found: List[str], unfinished: List[str]) -> List[str]:
    wrong = []
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        wrong.append(
            f"The packages are not as they were: {'; '.join(found[:_MOST_NAMED])}{more}. See "
            f"{_LOGS[facts.manager]}, mend what it names, then undo again: the package files are in {snapshot.folder}."
        )
    if unfinished:
        wrong.append(f"{', '.join(unfinished)} was left half-done by somebody: {_MENDS[facts.manager]}.")
    if _runs_another(snapshot, facts):
        same = facts.module == snapshot.module
        wrong.append(
            f"reboot needed: the kernel module that runs is {facts.module or 'none'}, and it was "
            f"{'another build of that version' if same else snapshot.module or 'none'}; package files do not change "
            "what is loaded. Reboot, then undo again."
        )
    return wrong


def _runs_another(snapshot: Snapshot, facts: Facts) -> bool:
    """Tell whether the module that runs is not the one that ran: by its version, and by its sources where it says."""
    if facts.module != snapshot.module:
        return True
    sources = (snapshot.module_source, facts.module_source)
    return None not in sources and sources[0] != sources[1]


def _whole(facts: Facts, name: str) -> bool:
    one = facts.packages.get(name)
    return one is None or one.whole


def _excused(row: str, packages: Set[str], files: Set[str]) -> bool:
    """Tell whether a difference is about what somebody else changed; a row is `part: package path was …`."""
    words = row.split(" ")
    return words[1] in packages or (words[0] == "managed:" and words[1] in files)


def _files_of(tools: Tools, snapshot: Snapshot, facts: Facts, packages: Set[str]) -> Set[str]:
    listed = [key.split(" ", 1) for key in values.mapping(snapshot.fingerprint, "conffiles")]
    found = {path for name, path in listed if name in packages}
    present = [facts.packages[name] for name in packages if name in facts.packages]
    found |= {path for one in present for path, _ in conffiles(tools, one)}
    return found | {path for one in present for path in owned(tools, one)}
