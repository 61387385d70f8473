# SPDX-License-Identifier: Apache-2.0
"""`agent.pyz compile`: the agent's code compiled once for this host's Python, beside the agent's file.

Two thirds of the time of a reading are Python compiling what the file holds. `provision` asks for this:

    compile            write what differs from this agent's file, remove what is of another
    compile --check    tell what would be written, and touch nothing

The answer is one JSON object: {"written": [folder], "removed": [folder]}.
"""

import importlib.util
import json
import marshal
import os
import shutil
import sys
import zipfile
from typing import Dict, List, Sequence

from chaosgpu.agent.compiled import folder_of

__all__ = ["compile_agent"]

_HASH_BASED = (1).to_bytes(4, "little")  # never compared with a source: PEP 552, unchecked


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
    folder = folder_of(agent)
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
