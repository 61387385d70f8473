# SPDX-License-Identifier: Apache-2.0
"""`agent service VERB`: one JSON object in, one out, as the agent's verbs; rooms.py calls it and logs it.

status {}   drain {"drill", "reason", "units"?, "containers"?, "slurm"?, "hook"?, "allow_processes"?}   return {"drill"}
quarantine {"drill", "reason", "differences"?} and what a drain takes   release {"by", "reason"}
All may have "by", "within_s", "check", "operator" and "protocol".
"""

import json
import os
import sys
from contextlib import nullcontext
from typing import List, Mapping, Optional

from chaosgpu.agent.errors import FAULT_BROKE, AgentError, BadRequest, as_agent_error
from chaosgpu.agent.main import Parts
from chaosgpu.agent.protocol import PROTOCOL
from chaosgpu.agent.service.answer import Answer
from chaosgpu.agent.service.back import give_back
from chaosgpu.agent.service.desk import Desk, open_desk
from chaosgpu.agent.service.drain import drain
from chaosgpu.agent.service.order import Order, parse_order
from chaosgpu.agent.service.quarantine import quarantine, refuse_quarantined, release
from chaosgpu.agent.service.status import status
from chaosgpu.agent.values import JsonObject

__all__ = ["main"]

VERBS = ("status", "drain", "return", "quarantine", "release")
_LARGEST_REQUEST = 1 << 20


def main(words: List[str], parts: Optional[Parts] = None, environment: Optional[Mapping[str, str]] = None) -> int:
    """Carry out one verb; 0 if standard output holds the answer, 1 if it holds an error."""
    parts = Parts() if parts is None else parts
    verb = " ".join(words)
    try:
        if verb not in VERBS:
            raise BadRequest(f"service takes one of {', '.join(VERBS)}, not {verb!r}.")
        request = _request(sys.stdin.read(_LARGEST_REQUEST))
        answer = _run(verb, request, parts, os.environ if environment is None else environment).to_json()
    except (AgentError, *FAULT_BROKE) as error:
        told = as_agent_error(error, f"service {verb}")
        answer = {"error": {"kind": told.kind, "message": str(told), "host": os.uname().nodename}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


def _request(asked: str) -> JsonObject:
    try:
        request = json.loads(asked or "{}")
    except ValueError as error:
        raise BadRequest(f"The request is no JSON: {error}.") from error
    if not isinstance(request, dict):
        raise BadRequest("The request must be one JSON object.")
    if request.get("protocol", PROTOCOL) != PROTOCOL:
        raise BadRequest(f"This agent speaks protocol {PROTOCOL}, and the request has {request['protocol']!r}.")
    return request


def _run(verb: str, request: JsonObject, parts: Parts, environment: Mapping[str, str]) -> Answer:
    desk = open_desk(request, parts, environment)
    order = parse_order(verb, request, desk.operator)
    try:
        if verb == "status":
            return status(desk)
        with nullcontext() if order.check else desk.lock():  # a check touches nothing, not even a lock
            if verb == "quarantine":
                return quarantine(order, desk)
            if verb == "release":
                return release(order, desk)
            return _moved(verb, order, desk)
    finally:
        desk.driver.close()


def _moved(verb: str, order: Order, desk: Desk) -> Answer:
    refuse_quarantined(desk)
    return drain(order, desk) if verb == "drain" else give_back(order, desk)
