# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines on the disk: with which TensorRT each was built."""

from functools import partial
from stat import S_ISDIR
from typing import List, Sequence

from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject

__all__ = ["engines"]

_TAG = b"ftrt"
_HEADER_BYTES = 28  # tag, form and, in the one form that is known, four bytes of version at the end (NVIDIA's trtexec)
_ENDINGS = (".plan", ".engine")
_MOST_FOLDERS = 2000
_DEPTH = 4
_NO_CAPABILITY = "where the file keeps it is not published; TensorRT itself tells it when it loads the engine"


def engines(tree: Tree, folders: Sequence[str]) -> Answer:
    """Return {"tensorrt"} of each engine below these folders, by its path; its compute capability is unknown."""
    answer = Answer()
    for folder in folders:
        try:
            paths = _below(tree, folder.rstrip("/"))
        except UnknownFact as why:
            answer.unknown[folder] = str(why)
            continue
        for path in paths:
            put(answer, path, partial(_engine, tree, path))
            if path in answer.values:
                answer.unknown[f"{path}.compute_capability"] = _NO_CAPABILITY
    return answer


def _below(tree: Tree, folder: str) -> List[str]:
    found: List[str] = []
    waiting = [(folder, 0)]
    looked = 0
    while waiting:
        current, depth = waiting.pop(0)
        looked += 1
        if looked > _MOST_FOLDERS:
            raise UnknownFact(f"more than {_MOST_FOLDERS} folders are below {folder}; name one nearer to the models")
        for name in tree.names(current):
            path = f"{current}/{name}"
            if name.endswith(_ENDINGS):
                found.append(path)
            elif depth < _DEPTH and _is_folder(tree, path):
                waiting.append((path, depth + 1))
    return found


def _is_folder(tree: Tree, path: str) -> bool:
    state = tree.stat(path)
    return state is not None and S_ISDIR(state.st_mode)


def _engine(tree: Tree, path: str) -> JsonObject:
    header = tree.read(path, _HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_TAG):
        raise UnknownFact(f"{path} is no TensorRT engine")
    if int.from_bytes(header[4:8], "little") != 0:
        raise UnknownFact(f"{path} is in a form of engine that is not known")
    return {"tensorrt": ".".join(str(byte) for byte in header[24:])}
