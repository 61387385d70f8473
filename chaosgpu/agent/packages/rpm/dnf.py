# SPDX-License-Identifier: Apache-2.0
"""dnf, asked through its own library in a process of its own: what a transaction would do, and package files."""

import json
import pkgutil
from pathlib import Path
from typing import Dict, List, Mapping, Tuple

from chaosgpu.agent.errors import Refused, Unanswered
from chaosgpu.agent.packages.files import content_digest
from chaosgpu.agent.packages.plan import Change
from chaosgpu.agent.packages.rpm.status import FORM, header, nevra, rows
from chaosgpu.agent.packages.stage import Staged
from chaosgpu.agent.packages.status import Package
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["changes", "same_build", "stage"]

_PROGRAM = "/usr/bin/dnf"
_PLAN_S, _FETCH_S, _READ_S = 120.0, 600.0, 60.0
_OTHERS = ("i386", "i686", "x86_64", "aarch64", "ppc64le", "s390x")  # what a name ends with that is not the host's own


def changes(tools: Tools, wanted: Mapping[str, str]) -> List[Change]:
    """Return what it would take to have these packages in these versions; Refused where dnf finds no way."""
    named = [_spec(tools, name, version) for name, version in sorted(wanted.items())]
    answer = _ask(tools, {"plan": [*named]}, _PLAN_S)
    if "error" in answer:
        raise Refused(
            f"dnf finds no way to {', '.join(named)} on this host, and nothing was changed. {answer['error']}. Are the "
            "lists of packages fresh (`dnf makecache --refresh`), and is every package named that has to move along?"
        )
    listed = answer.get("changes")
    found = [_change(tools, row) for row in listed if isinstance(row, list)] if isinstance(listed, list) else []
    return sorted((one for one in found if one.before != one.after), key=lambda change: change.name)


def stage(tools: Tools, folder: Path, wanted: Mapping[str, str]) -> Dict[str, Staged]:
    """Have the file of each package in this folder; from dnf's cache where it is there, else from a repository."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    due: List[JsonValue] = []
    for name, version in sorted(wanted.items()):
        plain, architectures = _split(tools, name)
        due.append([plain, version, [*architectures]])
    answer = _ask(tools, {"fetch": due, "folder": str(folder)}, _FETCH_S) if due else {}
    why = str(answer.get("error", ""))
    unsigned = answer.get("unsigned")
    if isinstance(unsigned, list) and unsigned:
        why = f"the signature of {', '.join(map(str, unsigned[:3]))} is not good"
    found = _read(tools, folder)
    gone = [f"{name} {version}" for name, version in wanted.items() if _version(found, name) != version]
    if gone or unsigned:
        raise Refused(
            f"No package file could be had of {', '.join(gone) or 'some'}, and without it there is no way there and "
            f"back: {why or 'no repository has it any more'}. Bring it to a repository that the host knows; nothing "
            "was changed."
        )
    return {name: found[name] for name in wanted}


def same_build(tools: Tools, path: Path, package: Package) -> bool:
    """Tell whether a package file is what is installed, to the byte: by the digest of its header."""
    return header(tools, "-p", str(path)) == header(tools, nevra(package)) != ""


def _ask(tools: Tools, question: JsonObject, within_s: float) -> JsonMapping:
    source = pkgutil.get_data("chaosgpu.agent.packages.rpm", "ask.py") or b""
    said = tools.run((_python(tools), "-c", source.decode()), within_s, stdin=json.dumps(question))
    try:
        answer = json.loads(said.out)
    except ValueError as error:
        why = " ".join(said.said.split())[-400:]
        raise Unanswered(f"dnf's library gave no answer (`{_PROGRAM}` ended with {said.status}): {why}.") from error
    if not isinstance(answer, dict):
        raise Unanswered(f"dnf's library gave {answer!r} for an answer.")
    return answer


def _python(tools: Tools) -> str:
    """Return the interpreter that dnf names in its first line."""
    try:
        first = tools.path(_PROGRAM).read_text(encoding="utf-8", errors="replace").splitlines()[0]
    except (OSError, IndexError) as error:
        raise Unanswered(f"{_PROGRAM} cannot be read, so nothing can be asked of dnf: {error}.") from error
    word = first[2:].split()[0] if first.startswith("#!") else ""
    if "python" not in word:
        raise Refused(
            f"{_PROGRAM} is no program in Python but another dnf than 4, and is not understood; nothing was changed."
        )
    return word


def _split(tools: Tools, name: str) -> Tuple[str, List[str]]:
    """Return what a package is called and which architectures it may be of."""
    plain, _, last = name.rpartition(".")
    return (plain, [last]) if last in _OTHERS else (name, [tools.native(), "noarch"])


def _spec(tools: Tools, name: str, version: str) -> str:
    plain, architectures = _split(tools, name)
    return f"{plain}-{version}" + (f".{architectures[0]}" if plain != name else "")


def _change(tools: Tools, row: List[JsonValue]) -> Change:
    plain, architecture, before, after, down = row
    name = str(plain) if architecture in (tools.native(), "noarch") else f"{plain}.{architecture}"
    sides = tuple(None if side is None else str(side) for side in (before, after))
    kind = "new" if before is None else "remove" if after is None else "downgrade" if down else "upgrade"
    return Change(name, sides[0], sides[1], kind)


def _version(found: Mapping[str, Staged], name: str) -> str:
    return found[name].version if name in found else ""


def _read(tools: Tools, folder: Path) -> Dict[str, Staged]:
    """Return the package files in a folder, by what they say themselves to be."""
    found: Dict[str, Staged] = {}
    for path in sorted(folder.glob("*.rpm")):
        said = rows(tools.run(("rpm", "-qp", "--nosignature", "--qf", FORM, str(path)), _READ_S).out, 4)
        if not said:
            path.unlink()  # cut off half-way, or no package at all
            continue
        name, version, architecture, _ = said[0]
        key = name if architecture in (tools.native(), "noarch") else f"{name}.{architecture}"
        found[key] = Staged(key, version, path.name, content_digest(path))
    return found
