# SPDX-License-Identifier: Apache-2.0
"""The kernel module that runs, which is not what a package says: read from the kernel and from the files on disk."""

import re
import shutil
from pathlib import Path
from typing import Dict, Optional

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.packages.tools import Tools, searched

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
        match = _VERSION.search(_text(tools, name).partition("\n")[0])
        if match:
            return match[1]
    return None


def loaded_source(tools: Tools) -> Optional[str]:
    """Return the digest of the sources of the module that is loaded, which tells two builds of a version apart."""
    return _text(tools, _SOURCE).strip() or None


def _text(tools: Tools, name: str) -> str:
    """Return what the kernel says there, empty where it has no such file; what cannot be read now says nothing else."""
    try:
        return tools.path(name).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise Unanswered(f"{name} cannot be read, so nobody knows which module runs: {error.strerror}.") from error


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
    if shutil.which("modinfo", path=searched("")) is None:
        return ""
    said = tools.run(("modinfo", "-F", "srcversion", str(path)), _WITHIN_S)
    return f"srcversion {said.out.strip()}" if said.well and said.out.strip() else ""
