# SPDX-License-Identifier: Apache-2.0
"""Which versions apt is to choose, as a text of preferences: for a plan in a private folder, for a guard in /etc."""

import shutil
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Tuple

from chaosgpu.agent.packages.tools import Tools

__all__ = ["CHANGE_PRIORITY", "NVIDIA_SOURCES", "local_only", "pins", "private"]

# Sources whose packages carry the driver's own version and must move together, as NVIDIA's pinning packages have them.
NVIDIA_SOURCES = ("src:*nvidia*:any", "src:cuda-drivers:any", "src:cuda-compat:any")
CHANGE_PRIORITY = 32000  # above every pin that a person would set
_PART = "zz-chaosgpu"


def pins(versions: Mapping[str, str], sources: Mapping[str, str], priority: int) -> str:
    """Return preferences that choose these versions, and for each version the packages of the same sources."""
    by_version: Dict[str, List[str]] = {}
    for name, version in sorted(versions.items()):
        by_version.setdefault(version, []).append(name)
    found = []
    for version, names in sorted(by_version.items()):
        made_from = sorted({f"src:{sources[name]}:any" for name in names if name in sources})
        drivers = NVIDIA_SOURCES if any(_is_driver(name, sources) for name in names) else ()
        chosen = " ".join([*names, *made_from, *drivers])
        found.append(f"Package: {chosen}\nPin: version {version}\nPin-Priority: {priority}\n")
    return "\n".join(found)


def _is_driver(name: str, sources: Mapping[str, str]) -> bool:
    return "nvidia" in name or "nvidia" in sources.get(name, "") or name.startswith(("cuda-drivers", "cuda-compat"))


def private(tools: Tools, folder: Path, text: str) -> Tuple[str, ...]:
    """Write the host's own preferences and these into a folder of ours; return what makes apt read them there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for source in _host_files(tools):
        shutil.copyfile(source, folder / f"host-{source.name}")
    (folder / _PART).write_text(text, encoding="utf-8")
    return ("-o", f"Dir::Etc::PreferencesParts={folder}", "-o", "Dir::Etc::Preferences=/dev/null")


def local_only(folder: Path) -> Tuple[str, ...]:
    """Return what makes apt know of no archive and no preference: package files that are named are all there is.

    Without it apt takes a version that an archive has too from there, and wants the network for it.
    """
    empty = folder / "nothing"
    empty.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = {"PreferencesParts": empty, "Preferences": "/dev/null", "SourceParts": empty, "SourceList": "/dev/null"}
    return tuple(word for name, place in places.items() for word in ("-o", f"Dir::Etc::{name}={place}"))


def _host_files(tools: Tools) -> Iterable[Path]:
    single, parts = tools.path("/etc/apt/preferences"), tools.path("/etc/apt/preferences.d")
    found = [single] if single.is_file() else []
    return [*found, *(sorted(path for path in parts.iterdir() if path.is_file()) if parts.is_dir() else ())]
