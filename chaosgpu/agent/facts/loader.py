# SPDX-License-Identifier: Apache-2.0
"""Which file the dynamic loader takes for a library's name, by /etc/ld.so.cache: the truth for most processes."""

import os
import struct
from typing import Dict, List, Tuple

from chaosgpu.agent.facts.tree import Tree, UnknownFact

__all__ = ["CACHE", "by_name", "cached_libraries", "file_version"]

CACHE = "/etc/ld.so.cache"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20sII20s")  # magic, entries, length of the strings, what we do not need
_ENTRY = struct.Struct("=iIIIQ")  # flags, name, path, system version, hardware
# The byte of the flags that tells the architecture (glibc's sysdeps); all entries count on others.
_ARCHITECTURES = {"x86_64": 0x0300, "aarch64": 0x0A00, "ppc64le": 0x0500}
_ARCHITECTURE_BITS = 0xFF00


def cached_libraries(tree: Tree, machine: str = "") -> List[Tuple[str, str]]:
    """Return name and path of each library of this architecture, in the order in which the loader takes them."""
    raw = tree.read(CACHE)
    start = raw.find(_MAGIC)  # an old form may come before it
    if start < 0 or len(raw) < start + _HEADER.size:
        raise UnknownFact(f"{CACHE} is not in a form that we know")
    _, count, _, _ = _HEADER.unpack_from(raw, start)
    wanted = _ARCHITECTURES.get(machine or os.uname().machine)
    found: List[Tuple[str, str]] = []
    try:
        for number in range(count):
            flags, name, path, _, _ = _ENTRY.unpack_from(raw, start + _HEADER.size + number * _ENTRY.size)
            if wanted is None or flags & _ARCHITECTURE_BITS == wanted:
                found.append((_string(raw, start + name), _string(raw, start + path)))
    except (struct.error, ValueError) as error:
        raise UnknownFact(f"{CACHE} is cut short") from error
    return found


def _string(raw: bytes, at: int) -> str:
    return os.fsdecode(raw[at : raw.index(b"\0", at)])


def file_version(tree: Tree, path: str) -> str:
    """Return the version in the name of the file that a library's name leads to, as in libcuda.so.580.95.05."""
    real = tree.real(path)
    state = tree.stat(real)
    if state is None:
        raise UnknownFact(f"{path} leads to {real}, which is not there")
    if state.st_size == 0:
        raise UnknownFact(f"{real} is empty")
    version = real.rpartition("/")[2].partition(".so.")[2]
    if "." not in version:
        raise UnknownFact(f"the name of {real} tells no version")
    return version


def by_name(libraries: List[Tuple[str, str]]) -> Dict[str, List[str]]:
    """Return the paths by name."""
    found: Dict[str, List[str]] = {}
    for name, path in libraries:
        found.setdefault(name, []).append(path)
    return found
