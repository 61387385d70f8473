# SPDX-License-Identifier: Apache-2.0
"""`agent.pyz compile`: the agent's code compiled once for this host's Python, beside the agent's file.

Two thirds of the time of a reading are Python compiling what the file holds. `provision` asks for this:

    compile            write what differs from this agent's file, remove what is of another
    compile --check    tell what would be written, and touch nothing

The answer is one JSON object: {"written": [folder], "removed": [folder]}. Only the verbs that change nothing use it:
what arms, watches and undoes comes from the one file whose digest is checked, and needs nothing beside it. It is used
only where its folder is named after the file's digest and belongs to the file's owner, who alone may write to it.
"""

import hashlib
import importlib.util
import json
import marshal
import os
import shutil
import stat
import sys
import zipfile
from typing import Dict, List, Sequence

__all__ = ["READS", "compile_agent", "only_of", "prefer"]

READS = frozenset({"doctor", "facts", "list", "read", "record"})
_PLACE = "compiled"
_HASH_BASED = (1).to_bytes(4, "little")  # never compared with a source: PEP 552, unchecked


def prefer(agent: str) -> bool:
    """Let modules that are imported from now on come from the compiled folder, if there is one to be trusted."""
    folder = _folder(agent)
    owner = os.stat(agent).st_uid  # noqa: PTH116 (pathlib costs 9 ms at start)
    if not (only_of(owner, os.path.dirname(folder)) and only_of(owner, folder)):  # noqa: PTH120 (as above)
        return False
    sys.modules["chaosgpu.agent"].__path__.insert(0, f"{folder}/chaosgpu/agent")
    sys.path.insert(0, folder)
    return True


def compile_agent(agent: str, words: Sequence[str]) -> int:
    """Carry out the verb; the exit status is 0 if standard output holds the answer."""
    answer: Dict[str, object]
    if words not in ([], ["--check"]):
        told = f"`compile {' '.join(words)}` is not understood: it is `compile [--check]`."
        answer = {"error": {"kind": "bad_request", "message": told}}
    else:
        try:
            answer = {**_compile(agent, touch=not words)}
        except OSError as error:
            told = f"The compiled agent cannot be written: {error.filename}: {error.strerror}."
            answer = {"error": {"kind": "store", "message": told}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


def _compile(agent: str, *, touch: bool) -> Dict[str, List[str]]:
    folder = _folder(agent)
    place = os.path.dirname(folder)  # noqa: PTH120 (as above)
    there = os.listdir(place) if os.path.isdir(place) else []  # noqa: PTH112, PTH208 (as above)
    others = [f"{place}/{name}" for name in sorted(there) if f"{place}/{name}" != folder]
    wanted = _wanted(agent)
    differs = {name for name, content in wanted.items() if _content(f"{folder}/{name}") != content}
    if touch:
        for name in sorted(differs):
            _write(f"{folder}/{name}", wanted[name])
        for other in others:
            shutil.rmtree(other)
    return {"written": [folder] if differs else [], "removed": others}


def _wanted(agent: str) -> Dict[str, bytes]:
    """Return each file of the folder, by name."""
    files = {}
    with zipfile.ZipFile(agent) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "__main__.py":
                continue
            if name.endswith(".py"):
                code = compile(content, f"{agent}/{name}", "exec", dont_inherit=True)
                head = importlib.util.MAGIC_NUMBER + _HASH_BASED + importlib.util.source_hash(content)
                name, content = f"{name}c", head + marshal.dumps(code)  # noqa: PLW2901 (the same file, compiled)
            files[name] = content
    return files


def _folder(agent: str) -> str:
    with open(agent, "rb") as file:  # noqa: PTH123 (as above)
        digest = hashlib.sha256(file.read()).hexdigest()
    where = os.path.dirname(agent)  # noqa: PTH120 (as above)
    return f"{where}/{_PLACE}/{digest[:32]}-{sys.implementation.cache_tag}"


def only_of(owner: int, folder: str) -> bool:
    """Tell whether this is a folder of the owner's, and nobody else may write to it."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o022


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (as above)
            return file.read()
    except FileNotFoundError:
        return b""


def _write(path: str, content: bytes) -> None:
    folder = os.path.dirname(path)  # noqa: PTH120 (as above)
    os.makedirs(folder, mode=0o755, exist_ok=True)  # noqa: PTH103 (as above)
    with open(f"{path}.new", "wb") as file:  # noqa: PTH123 (as above)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(f"{path}.new", 0o644)  # noqa: PTH101 (as above)
    os.replace(f"{path}.new", path)  # noqa: PTH105 (as above)
