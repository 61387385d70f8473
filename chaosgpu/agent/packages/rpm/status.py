# SPDX-License-Identifier: Apache-2.0
"""rpm's own record of packages. A package that is there in two versions is what a transaction has left half-done."""

from typing import Dict, List, Sequence, Set, Tuple

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.rpm.locking import locked
from chaosgpu.agent.packages.status import Package
from chaosgpu.agent.packages.tools import Done, Tools

__all__ = ["FORM", "broken", "conffiles", "edited", "header", "nevra", "owned", "read_packages", "rows", "side_by_side"]

# Name, whole version, architecture, what it was built from.
FORM = "%{NAME}\\t%{EVR}\\t%{ARCH}\\t%{SOURCERPM}\\n"
_FILES = "[%{FILEFLAGS}\\t%{FILEDIGESTS}\\t%{FILENAMES}\\n]"
_WITHIN_S = 60.0
_CONFIG, _GHOST = 1, 64  # rpm's flags of files
_HALF = "in two versions"
# Of these a host may have several versions side by side, as dnf has it.
_SIDE_BY_SIDE = ("kernel", "installonlypkg(kernel)", "installonlypkg(kernel-module)", "installonlypkg(vm)")
_NO_PACKAGE = "gpg-pubkey"


def rows(said: str, words: int) -> List[List[str]]:
    """Return the lines of an answer, each split at its tabs; others are left out."""
    found = (line.split("\t") for line in said.splitlines())
    return [row for row in found if len(row) == words]


def read_packages(tools: Tools) -> Dict[str, Package]:
    """Return every package of the host; Unanswered where rpm's record cannot be read."""
    listed = rows(_ask(tools, "-qa", "--qf", FORM).out, 4)
    several = side_by_side(tools)
    native, locks = tools.native(), locked(tools)
    versions: Dict[str, List[str]] = {}
    found: Dict[str, Package] = {}
    for name, version, architecture, source in listed:
        if name == _NO_PACKAGE:
            continue
        key = name if architecture in (native, "noarch") else f"{name}.{architecture}"
        versions.setdefault(key, []).append(version)
        half = len(versions[key]) > 1 and name not in several
        status = _HALF if half else "installed"
        want = "hold" if version in locks.get(name, ()) else "install"
        found[key] = Package(key, version, architecture, want, "ok", status, source, essential=False, conffiles=())
    return found


def broken(packages: Dict[str, Package]) -> List[str]:
    """Return the packages that are there twice, as words for a sentence."""
    return [f"{one.name} ({_HALF})" for one in packages.values() if one.status == _HALF]


def owned(tools: Tools, package: Package) -> List[str]:
    """Return the paths that a package owns, but those that its service makes."""
    return [path for flags, _, path in _files(tools, package) if not int(flags) & _GHOST]


def conffiles(tools: Tools, package: Package) -> Tuple[Tuple[str, str], ...]:
    """Return its configuration files with rpm's digest of each."""
    listed = {path: digest for flags, digest, path in _files(tools, package) if int(flags) & _CONFIG}
    return tuple(sorted(listed.items()))


def edited(tools: Tools, names: Sequence[str]) -> List[str]:
    """Return the files, but no configuration, that are not as their package has them."""
    if not names:
        return []
    found = []
    for line in _ask(tools, "-V", "--nodeps", "--noscripts", *names, may_fail=True).out.splitlines():
        words = line.split()
        changed = words[0] == "missing" or "5" in words[0]
        if len(words) > 1 and changed and "c" not in words[1:-1] and "g" not in words[1:-1]:
            found.append(words[-1])
    return found


def header(tools: Tools, *words: str) -> str:
    """Return the digest of a package's header, which names every byte of it: of what is installed, or of a file."""
    return _ask(tools, "-q", "--nosignature", "--qf", "%{SHA256HEADER}\\n", *words, may_fail=True).out.strip()


def nevra(package: Package) -> str:
    """Return how rpm names it and no other."""
    plain = package.name.partition(f".{package.architecture}")[0]
    return f"{plain}-{package.version}.{package.architecture}"


def _files(tools: Tools, package: Package) -> List[List[str]]:
    plain = package.name.partition(f".{package.architecture}")[0]
    return rows(_ask(tools, "-q", "--qf", _FILES, f"{plain}.{package.architecture}", may_fail=True).out, 3)


def side_by_side(tools: Tools) -> Set[str]:
    """Return the names of packages of which a host may have several versions."""
    said = _ask(tools, "-q", "--qf", "%{NAME}\\n", "--whatprovides", *_SIDE_BY_SIDE, may_fail=True)
    return {line for line in said.out.splitlines() if " " not in line}


def _ask(tools: Tools, *words: str, may_fail: bool = False) -> Done:
    said = tools.run(("rpm", *words), _WITHIN_S)
    if not said.well and not may_fail:
        raise Unanswered(f"rpm's record cannot be read: {said.sentence()}.")
    return said
