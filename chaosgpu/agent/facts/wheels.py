# SPDX-License-Identifier: Apache-2.0
"""Versions of Python packages by the names of their metadata folders: nothing is imported."""

import re
from typing import Dict, Optional

from chaosgpu.agent.facts.tree import Tree, UnknownFact

__all__ = ["wheel_version", "wheels"]

_METADATA = re.compile(r"(.+)-([^-]+)\.(?:dist|egg)-info")
_LIBRARY = re.compile(r"(.*)/nvidia/([^/]+)/lib/[^/]+")


def wheels(tree: Tree, folder: str) -> Dict[str, str]:
    """Return version by normalised name of what is installed in a site-packages."""
    found = {}
    for name in tree.names(folder):
        match = _METADATA.fullmatch(name)
        if match:
            found[re.sub(r"[-_.]+", "-", match.group(1)).lower()] = match.group(2)
    return found


def wheel_version(tree: Tree, path: str) -> Optional[str]:
    """Return the version of the NVIDIA wheel that a library lies in; None where it lies in none."""
    match = _LIBRARY.fullmatch(path)
    if match is None:
        return None
    try:
        found = wheels(tree, match.group(1))
    except UnknownFact:
        return None
    named = (version for name, version in found.items() if re.match(rf"nvidia-{match.group(2)}(-cu\d+)?$", name))
    return next(named, None)
