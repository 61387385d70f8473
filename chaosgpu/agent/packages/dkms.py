# SPDX-License-Identifier: Apache-2.0
"""What DKMS has registered, built and installed for packages: in a normal form, kept, and put back without a compiler.

DKMS keeps what it has built in a tree of its own, which no package owns: NAME/VERSION/KERNEL/ARCH, with a link to the
sources, and NAME/kernel-KERNEL-ARCH leading to what is installed.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Mapping, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.packages.files import content_digest
from chaosgpu.agent.packages.module import made_of
from chaosgpu.agent.packages.stage import sync_file
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["UNOWNED", "installed_files", "is_intact", "keep", "room_bytes", "source_of", "state"]

TREE = "/var/lib/dkms"
UNOWNED = "unowned"  # what is registered for sources that no package of ours has now
_SOURCES, _DESCRIPTION = "/usr/src/", "/dkms.conf"
_KEPT = ("module", "log")


def source_of(path: str) -> str:
    """Return the folder of DKMS sources under /usr/src that a packaged file describes; empty for any other file."""
    if not path.startswith(_SOURCES) or not path.endswith(_DESCRIPTION):
        return ""
    name = path[len(_SOURCES) : -len(_DESCRIPTION)]
    return "" if "/" in name else name


def state(tools: Tools, sources: Mapping[str, str]) -> Dict[str, str]:
    """Return what is registered for these folders of sources: added, built or installed, and what it is made of.

    `sources` says of which package a folder is. An installed module is one that lies where the kernel looks for it, as
    it was built.
    """
    found: Dict[str, str] = {}
    for name, version, source in _registered(tools):
        if source not in sources:
            continue
        key = f"{sources[source]} {name}/{version}"
        found[key] = "added"
        for built in _built(tools, name, version):
            modules = _modules(built)
            total = hashlib.sha256(repr([(one.name, made_of(tools, one)) for one in modules]).encode()).hexdigest()
            kind = "installed" if _is_installed(tools, name, version, built, modules) else "built"
            found[f"{key} {built.parent.name} {built.name}"] = f"{kind} {total[:16]}"
    return found


def keep(tools: Tools, folder: Path, sources: Iterable[str]) -> JsonObject:
    """Keep what is built from these sources, laid out as DKMS has it; return each file with its SHA-256."""
    found: Dict[str, str] = {}
    for built in _all_built(tools, sources):
        place = folder / built.relative_to(tools.path(TREE))
        for part in _KEPT:
            if (built / part).is_dir():
                shutil.copytree(built / part, place / part, symlinks=True)
        for path in sorted(path for path in place.rglob("*") if path.is_file() and not path.is_symlink()):
            sync_file(path)
            found[str(path.relative_to(folder))] = content_digest(path)
    return {**found}


def room_bytes(tools: Tools, sources: Iterable[str]) -> int:
    """Return how much room that takes."""
    modules = (path for built in _all_built(tools, sources) for path in _modules(built))
    return sum(path.stat().st_size for path in modules)


def is_intact(folder: Path, kept: JsonMapping) -> bool:
    """Tell whether every file that was kept is still that file; one that is not means to compile, not to fail."""
    return all((folder / name).is_file() and content_digest(folder / name) == values.text(kept, name) for name in kept)


def installed_files(tools: Tools, kept: JsonMapping) -> List[Path]:
    """Return where the kernels look for the modules that were kept, of those that are there."""
    found = []
    for name in kept:
        _, _, kernel, _, part, file = (*name.split("/", 5), "", "")[:6]
        if part == "module":
            found += sorted(tools.path(f"/lib/modules/{kernel}").glob(f"updates/**/{file}"))
    return found


def _registered(tools: Tools) -> Iterator[Tuple[str, str, str]]:
    """Yield name, version and folder of sources of each module that DKMS knows."""
    for link in sorted(tools.path(TREE).glob("*/*/source")):
        if link.is_symlink():
            yield link.parent.parent.name, link.parent.name, link.readlink().name


def _built(tools: Tools, name: str, version: str) -> List[Path]:
    base = tools.path(f"{TREE}/{name}/{version}")
    return sorted(path.parent for path in base.glob("*/*/module") if path.is_dir() and path.parts[-3] != "build")


def _all_built(tools: Tools, sources: Iterable[str]) -> Iterator[Path]:
    wanted = frozenset(sources)
    for name, version, source in _registered(tools):
        if source in wanted:
            yield from _built(tools, name, version)


def _modules(built: Path) -> List[Path]:
    return sorted(path for path in (built / "module").iterdir() if path.is_file())


def _is_installed(tools: Tools, name: str, version: str, built: Path, modules: List[Path]) -> bool:
    kernel, architecture = built.parent.name, built.name
    link = tools.path(f"{TREE}/{name}/kernel-{kernel}-{architecture}")
    if not link.is_symlink() or str(link.readlink()) != f"{version}/{kernel}/{architecture}":
        return False
    places = tools.path(f"/lib/modules/{kernel}")
    return all(_lies_in(places, one) for one in modules)


def _lies_in(places: Path, module: Path) -> bool:
    found = sorted(places.glob(f"updates/**/{module.name}"))
    return bool(found) and content_digest(found[0]) == content_digest(module)
