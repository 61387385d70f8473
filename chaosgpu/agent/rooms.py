# SPDX-License-Identifier: Apache-2.0
"""`agent ROOM VERB`: what playbooks ask of a host beside faults, under the agent's name so that one sudoers line does.

A room's `main(words)` reads one JSON object from standard input and writes one to standard output, as the verbs do.
Here its request is read and checked once, and its deadline armed: `deadline_s` seconds from now the verb is broken off.
"""

import importlib
import io
import json
import os
import signal
import sys
from typing import Dict, List, Tuple

from chaosgpu.agent.errors import FAULT_BROKE, AgentError, BadRequest, Unanswered, as_agent_error
from chaosgpu.agent.syslog import DEV_LOG, log_verb, operator_of
from chaosgpu.agent.values import JsonObject

__all__ = ["ROOMS", "enter"]

# A word of the command line, and the module whose `main` takes the rest of it.
ROOMS: Dict[str, str] = {"packages": "chaosgpu.agent.packages.room", "service": "chaosgpu.agent.service.__main__"}
_PROTOCOL = 1
_LARGEST_BYTES = 1 << 20
_LONGEST_S = 86400.0


def enter(words: List[str]) -> int:
    """Carry out one verb of a room; 0 if standard output holds the answer, 1 if it holds an error."""
    what = " ".join(words)
    request: JsonObject = {}
    operator = operator_of(request, os.environ, os.getuid())
    try:
        request, deadline_s = _read(sys.stdin.buffer.read(_LARGEST_BYTES + 1))
        operator = operator_of(request, os.environ, os.getuid())
        log_verb(DEV_LOG, what, operator, {"run": request.get("drill")}, "asked")
        sys.stdin = io.StringIO(json.dumps({key: value for key, value in request.items() if key != "deadline_s"}))
        _arm(what, deadline_s)
        status = int(_room(words[0]).main(words[1:]))  # type: ignore[attr-defined]
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    except (AgentError, *FAULT_BROKE) as error:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        told = as_agent_error(error, f"`{what}`")
        sys.stdout.write(json.dumps({"error": {"kind": told.kind, "message": str(told)}}) + "\n")
        status = 1
    log_verb(DEV_LOG, what, operator, {"run": request.get("drill")}, "done" if status == 0 else "failed")
    return status


def _read(raw: bytes) -> Tuple[JsonObject, float]:
    """Return the request and its deadline."""
    if len(raw) > _LARGEST_BYTES:
        raise BadRequest(f"The request has more than {_LARGEST_BYTES} bytes.")
    try:
        request = json.loads(raw or b"{}")
    except ValueError as error:
        raise BadRequest(f"The request is no JSON: {error}.") from error
    if not isinstance(request, dict):
        raise BadRequest("The request must be one JSON object.")
    if request.get("protocol", _PROTOCOL) != _PROTOCOL:
        raise BadRequest(f"This agent speaks protocol {_PROTOCOL}, not {request['protocol']!r}: install one release.")
    deadline_s = request.get("deadline_s", 0.0)
    if isinstance(deadline_s, bool) or not isinstance(deadline_s, (int, float)) or not 0 <= deadline_s <= _LONGEST_S:
        raise BadRequest(f"deadline_s must be a number of seconds up to {_LONGEST_S:g}, not {deadline_s!r}.")
    return request, float(deadline_s)


def _arm(what: str, deadline_s: float) -> None:
    """Break the verb off when its time is over; without a deadline it has none but its own."""

    def over(_: int, __: object) -> None:
        raise Unanswered(f"`{what}` was not done within {deadline_s:g} s and was broken off; ask again with more time.")

    if deadline_s:
        signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, deadline_s)


def _room(name: str) -> object:
    try:
        return importlib.import_module(ROOMS[name])
    except ImportError as error:
        raise BadRequest(
            f"This agent has no room {name} ({error}): install the agent of the controller's release."
        ) from error
