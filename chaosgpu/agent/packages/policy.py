# SPDX-License-Identifier: Apache-2.0
"""Which versions apt is to choose, as a text of preferences: for a plan on its standard input, for a guard in /etc."""

import re
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Tuple

from chaosgpu.agent.packages.tools import Tools

__all__ = ["CHANGE_PRIORITY", "NO_PINS", "NVIDIA_SOURCES", "local_only", "pins", "with_host"]

# Sources whose packages carry the driver's own version and must move together, as NVIDIA's pinning packages have them.
NVIDIA_SOURCES = ("src:*nvidia*:any", "src:cuda-drivers:any", "src:cuda-compat:any")
CHANGE_PRIORITY = 32000  # above every pin that a person would set
# What makes apt read no preferences; and those on its standard input alone, which is a file without a name.
NO_PINS = ("-o", "Dir::Etc::PreferencesParts=/dev/null", "-o", "Dir::Etc::Preferences=/dev/null")
_STDIN = ("-o", "Dir::Etc::PreferencesParts=/dev/null", "-o", "Dir::Etc::Preferences=/proc/self/fd/0")
# Of the files in preferences.d apt reads those with such names alone.
_READ = re.compile(r"[A-Za-z0-9_:-]+|[A-Za-z0-9_:-][A-Za-z0-9_:.-]*\.pref")


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


def with_host(tools: Tools, text: str) -> Tuple[Tuple[str, ...], str]:
    """Return what makes apt read its standard input for preferences, and what to give it: the host's own, then these.

    No file is made for it, so that one who is killed while he asks leaves none.
    """
    own = [path.read_text(encoding="utf-8", errors="replace") for path in _host_files(tools)]
    return _STDIN, "\n\n".join([*own, text])


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
    read = (path for path in parts.iterdir() if _READ.fullmatch(path.name)) if parts.is_dir() else ()
    return [*found, *sorted(path for path in read if path.is_file())]
