# SPDX-License-Identifier: Apache-2.0
"""Ask a program of the host something: a list of words, a deadline, and a missing program is no answer."""

import os
from typing import Sequence

from chaosgpu.agent.residue.finding import Unlooked

__all__ = ["ask_program"]

_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_WITHIN_S = 3.0
_SHOWN = 200


def ask_program(words: Sequence[str]) -> str:
    """Return what the program said; Unlooked where it is missing, fails, or does not answer in time."""
    import subprocess  # noqa: PLC0415 (8 ms, and not every look needs it)

    shown = " ".join(words)
    path = next((f"{folder}/{words[0]}" for folder in _FOLDERS if os.access(f"{folder}/{words[0]}", os.X_OK)), None)
    if path is None:
        raise Unlooked(f"there is no program {words[0]} on this host")
    try:
        child = subprocess.Popen(
            [path, *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            env=_PLAIN,
        )  # fmt: skip
    except OSError as error:
        raise Unlooked(f"`{shown}` could not be started: {error.strerror}") from error
    try:
        out, said = child.communicate(timeout=_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        child.kill()  # it is in the group of the one who looks, which is ended as a whole
        child.communicate()
        raise Unlooked(f"`{shown}` did not answer within {_WITHIN_S:g} s") from error
    if child.returncode != 0:
        raise Unlooked(f"`{shown}` ended with {child.returncode}: {said.decode(errors='replace').strip()[:_SHOWN]}")
    return out.decode(errors="replace")
