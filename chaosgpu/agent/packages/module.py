# SPDX-License-Identifier: Apache-2.0
"""The kernel module that runs, which is not what a package says: read from the kernel and from the files on disk."""

import re
from pathlib import Path
from typing import Dict, Optional

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.tools import Tools

__all__ = ["built", "loaded", "loaded_source", "made_of"]

_PROC = "/proc/driver/nvidia/version"
_SYS = "/sys/module/nvidia/version"
_SOURCE = "/sys/module/nvidia/srcversion"
_WITHIN_S = 10.0
_BUILT = ("updates", "extra", "weak-updates")  # the two last are those of RHEL and its like
_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)?)\b")


def loaded(tools: Tools) -> Optional[str]:
    """Return the version of the module that is loaded; None where none is."""
    for name in (_PROC, _SYS):
        try:
            first = tools.path(name).read_text(encoding="utf-8", errors="replace").splitlines()[:1]
        except OSError:
            continue
        match = _VERSION.search(first[0]) if first else None
        if match:
            return match[1]
    return None


def loaded_source(tools: Tools) -> Optional[str]:
    """Return the digest of the sources of the module that is loaded, which tells two builds of a version apart."""
    try:
        return tools.path(_SOURCE).read_text(encoding="ascii", errors="replace").strip() or None
    except OSError:
        return None


def built(tools: Tools) -> Dict[str, str]:
    """Return each module file of NVIDIA's that is built on the host, DKMS's and its like, and what it is made of."""
    base = tools.path("/lib/modules")
    if not base.is_dir():
        return {}
    places = (kernel / folder for kernel in sorted(base.iterdir()) for folder in _BUILT)
    found = (path for place in places for path in sorted(place.glob("**/nvidia*.ko*")))
    return {f"/{path.relative_to(tools.root)}": made_of(tools, path) for path in found}


def made_of(tools: Tools, path: Path) -> str:
    """Return the digest of a module's sources, where it tells one (signatures differ with each build), else its own."""
    from chaosgpu.agent.packages.files import digest  # noqa: PLC0415 (it is only needed here)

    return _sources(tools, path) or digest(path)


def _sources(tools: Tools, path: Path) -> str:
    try:
        said = tools.run(("modinfo", "-F", "srcversion", str(path)), _WITHIN_S)
    except Unanswered:
        return ""
    return f"srcversion {said.out.strip()}" if said.well and said.out.strip() else ""
