# SPDX-License-Identifier: Apache-2.0
"""What a driver's library answers to a process that starts on it; asked in a child, where it may hang or die."""

import contextlib
import json
import os
import select
import signal
import time
from typing import Dict

from chaosgpu.agent.errors import Refused, Unanswered
from chaosgpu.agent.process import fork_served
from chaosgpu.agent.values import JsonObject

__all__ = ["FIRST_CALLS", "first_answer"]

# By the library's family: what every program calls before anything else.
FIRST_CALLS: Dict[str, str] = {"libcuda": "cuInit", "libnvidia-ml": "nvmlInit_v2"}
_WITHIN_S = 8.0  # it may wake every GPU
_GONE_WITHIN_S = 1.0
_MOST_BYTES = 4096


def first_answer(path: str, family: str) -> int:
    """Return the code of the first call into this file: 0 where it goes with the kernel module that is loaded.

    Refused where it cannot be loaded, Unanswered where nothing came back in time.
    """
    call = FIRST_CALLS[family]

    def serve(_: int, answer_end: int) -> None:
        os.write(answer_end, json.dumps(_asked(path, call)).encode())

    pid, requests, answers = fork_served(serve)
    try:
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        said = os.read(answers, _MOST_BYTES) if poll.poll(_WITHIN_S * 1000) else b""
    finally:
        os.close(requests)
        os.close(answers)
        _end(pid)
    if not said:
        raise Unanswered(
            f"{call} of {path} did not come back within {_WITHIN_S:g} s, or its process died; see `dmesg`."
        )
    answer = json.loads(said)
    if "error" in answer:
        raise Refused(f"{path} cannot be loaded: {answer['error']}. Nothing was changed.")
    return int(answer["code"])


def _asked(path: str, call: str) -> JsonObject:
    import ctypes  # noqa: PLC0415 (5 ms, and only this child needs it)

    try:
        function = getattr(ctypes.CDLL(path), call)
    except (OSError, AttributeError) as error:
        return {"error": str(error)[:1000]}
    return {"code": int(function(0)) if call == "cuInit" else int(function())}


def _end(pid: int) -> None:
    """End the child, whatever it still does; one that is stuck in the kernel is left to it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        os.kill(pid, signal.SIGKILL)  # it has not become the leader of its own group yet
    end_s = time.monotonic() + _GONE_WITHIN_S
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < end_s:
            time.sleep(0.002)
