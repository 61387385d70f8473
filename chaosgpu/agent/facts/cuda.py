# SPDX-License-Identifier: Apache-2.0
"""CUDA on the disk: toolkits, the forward-compatibility package, and which CUDA libraries the loader knows."""

import json
import re
from typing import Dict, List

from chaosgpu.agent.facts.loader import cached_libraries, file_version
from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["FAMILIES", "cuda", "family"]

# The libraries whose version decides what a service computes, by the first part of their file's name.
FAMILIES = (
    "libcuda", "libnvidia-ml", "libcudart", "libcublas", "libcublasLt", "libcusparse", "libcusolver", "libcufft",
    "libnvJitLink", "libnvrtc", "libnccl", "libcudnn", "libnvinfer",
)  # fmt: skip
_FOLDER = re.compile(r"cuda-(\d+\.\d+)")


def family(path: str) -> str:
    """Return the family of a library's file, or an empty text."""
    name = path.rpartition("/")[2].partition(".so")[0]
    return name if name in FAMILIES else ""


def cuda(tree: Tree) -> Answer:
    """Return toolkits by their folder's version, the default one, forward_compat, and the libraries of the loader."""
    answer = Answer()
    put(answer, "toolkits", lambda: _toolkits(tree))
    put(answer, "default", lambda: _default(tree))
    put(answer, "forward_compat", lambda: _forward_compat(tree))
    put(answer, "libraries", lambda: _libraries(tree))
    return answer


def _toolkits(tree: Tree) -> JsonValue:
    found: JsonObject = {}
    for name in tree.some_names("/usr/local"):
        match = _FOLDER.fullmatch(name)
        if match:
            found[match.group(1)] = _toolkit(tree, f"/usr/local/{name}", match.group(1))
    return found


def _toolkit(tree: Tree, folder: str, named: str) -> str:
    """Return the whole version where the folder tells it, else the one in its name."""
    try:
        said = json.loads(tree.read(f"{folder}/version.json"))["cuda"]["version"]
        return str(said)
    except (UnknownFact, ValueError, LookupError, TypeError):
        return named


def _default(tree: Tree) -> JsonValue:
    if not tree.exists("/usr/local/cuda"):
        raise UnknownFact("/usr/local/cuda is not there")
    match = _FOLDER.fullmatch(tree.split("/usr/local/cuda")[1])
    if match is None:
        raise UnknownFact(f"/usr/local/cuda leads to {tree.real('/usr/local/cuda')}, whose name tells no version")
    return match.group(1)


def _forward_compat(tree: Tree) -> JsonValue:
    """Return the driver version of each forward-compatibility package, by its CUDA."""
    found: JsonObject = {}
    for name in tree.some_names("/usr/local"):
        match = _FOLDER.fullmatch(name)
        library = f"/usr/local/{name}/compat/libcuda.so.1"
        if match and tree.exists(library):
            found[match.group(1)] = file_version(tree, library)
    return found


def _libraries(tree: Tree) -> JsonValue:
    """Return each family's files in the order in which the loader takes them; two in one family are worth a look."""
    found: Dict[str, List[JsonValue]] = {}
    for _, path in cached_libraries(tree):
        named = family(path)
        real = tree.real(path) if named else ""
        if real and real not in found.setdefault(named, []):
            found[named].append(real)
    listed: JsonObject = {}
    listed.update(sorted(found.items()))
    return listed
