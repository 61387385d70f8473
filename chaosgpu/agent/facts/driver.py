# SPDX-License-Identifier: Apache-2.0
"""The NVIDIA driver three times over: the module that is loaded, the one on the disk, the library, and the package."""

import re
import struct
from typing import List, Optional, Tuple

from chaosgpu.agent.facts.loader import by_name, cached_libraries, file_version
from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonValue

__all__ = ["driver", "module_version"]

_LOADED = "/sys/module/nvidia/version"
_PROC = "/proc/driver/nvidia/version"
_IN_PROC = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")
# One package each of the worlds of packages: NVIDIA's and Ubuntu's by branch, NVIDIA's from 590 on, Debian's, RPM's.
_LIBRARY_PACKAGE = r"libnvidia-compute(-\d+)?(-server)?|libcuda1|libnvidia-compute|nvidia-driver-cuda-libs"
_MODULE_PACKAGE = r"nvidia-(kernel-)?dkms(-\d+)?(-server)?(-open)?|nvidia-(open-)?kernel-dkms|kmod-nvidia-\w+-dkms"
_ELF = b"\x7fELF\x02\x01"  # 64 bits, the low byte first
_PACKED = {".xz": "xz", ".zst": "zstd", ".gz": "gzip"}


def driver(tree: Tree, found: Optional[Packages]) -> Answer:
    """Return module, module_on_disk, flavour, libraries and package; `found` is None where packages are unknown."""
    answer = Answer()
    put(answer, "module", lambda: _loaded(tree))
    put(answer, "flavour", lambda: "open" if "Open Kernel Module" in tree.text(_PROC) else "proprietary")
    put(answer, "module_on_disk", lambda: module_version(tree))
    try:
        paths = by_name(cached_libraries(tree))
    except UnknownFact as why:
        answer.unknown["library"] = answer.unknown["nvml_library"] = str(why)
    else:
        put(answer, "library", lambda: _library(tree, paths.get("libcuda.so.1"), "libcuda.so.1"))
        put(answer, "nvml_library", lambda: _library(tree, paths.get("libnvidia-ml.so.1"), "libnvidia-ml.so.1"))
        put(answer, "strays", lambda: _strays(tree, paths.get("libcuda.so.1")))
    for name, pattern in (("package", _LIBRARY_PACKAGE), ("module_package", _MODULE_PACKAGE)):
        _put_package(answer, name, pattern, found)
    return answer


def _put_package(answer: Answer, name: str, pattern: str, found: Optional[Packages]) -> None:
    named = None if found is None else found.version(pattern)
    if found is None:
        answer.unknown[name] = "the packages of this host are unknown"
    elif named is None:
        answer.unknown[name] = "no package of the driver is installed: another way than packages put it here"
    else:
        answer.values[f"{name}_name"], answer.values[name] = named


def _loaded(tree: Tree) -> str:
    if tree.exists(_LOADED):
        return tree.text(_LOADED)
    if tree.exists(_PROC):
        match = _IN_PROC.search(tree.text(_PROC))
        if match:
            return match.group(1)
    raise UnknownFact("no NVIDIA kernel module is loaded")


def _library(tree: Tree, paths: Optional[List[str]], name: str) -> str:
    if not paths:
        raise UnknownFact(f"the loader's cache has no {name}")
    return file_version(tree, paths[0])


def _strays(tree: Tree, paths: Optional[List[str]]) -> JsonValue:
    """Return further versions of libcuda beside the one in use: left by an installer that packages know nothing of."""
    if not paths:
        raise UnknownFact("the loader's cache has no libcuda.so.1")
    folder, used = tree.split(paths[0])
    others = (name for name in tree.names(folder) if re.fullmatch(r"libcuda\.so\.\d+(\.\d+)+", name))
    return [f"{folder}/{name}" for name in others if name != used]


def module_version(tree: Tree, release: Optional[str] = None) -> str:
    """Return the version of the module on the disk for the running kernel: what the next boot loads."""
    release = tree.text("/proc/sys/kernel/osrelease") if release is None else release
    path = _module_path(tree, release)
    packed = _PACKED.get(path[path.rindex(".") :])
    if packed is None:
        return _of_elf(tree.read(path), path)
    built = "/var/lib/dkms/nvidia"
    for name in tree.some_names(built):
        version = re.match(rf"{built}/(\d+(?:\.\d+)+)/", tree.real(f"{built}/{name}"))
        if name.startswith(f"kernel-{release}-") and version:
            return version.group(1)
    raise UnknownFact(f"{path} is packed with {packed}, and DKMS does not tell its version")


def _module_path(tree: Tree, release: str) -> str:
    folder = f"/lib/modules/{release}"
    for line in tree.text(f"{folder}/modules.dep").splitlines():
        path = line.partition(":")[0]
        if re.fullmatch(r"nvidia(-current)?\.ko(\.\w+)?", path.rpartition("/")[2]):
            return path if path.startswith("/") else f"{folder}/{path}"
    raise UnknownFact(f"no NVIDIA module is on the disk for the running kernel {release}")


def _of_elf(raw: bytes, path: str) -> str:
    """Read the version out of the section .modinfo."""
    for entry in _section(raw, path, b".modinfo").split(b"\0"):
        if entry.startswith(b"version="):
            return entry[len(b"version=") :].decode(errors="replace")
    raise UnknownFact(f"{path} tells no version")


def _section(raw: bytes, path: str, name: bytes) -> bytes:
    try:
        if not raw.startswith(_ELF):
            raise UnknownFact(f"{path} is no module that we can read")
        (table,) = struct.unpack_from("<Q", raw, 0x28)
        size, count, names = struct.unpack_from("<HHH", raw, 0x3A)
        sections = [_placed(raw, table + number * size) for number in range(count)]
        start = sections[names][1]
        for named, offset, length in sections:
            if raw.startswith(name + b"\0", start + named):
                return raw[offset : offset + length]
    except (struct.error, IndexError) as error:
        raise UnknownFact(f"{path} is cut short") from error
    raise UnknownFact(f"{path} has no section .modinfo")


def _placed(raw: bytes, at: int) -> Tuple[int, int, int]:
    named, _, _, _, offset, length = struct.unpack_from("<IIQQQQ", raw, at)
    return named, offset, length
