# SPDX-License-Identifier: Apache-2.0
"""One verb about packages: a JSON object from standard input, one on standard output."""

import json
import sys
from typing import Callable, List, Mapping

from chaosgpu.agent.errors import AgentError, BadRequest
from chaosgpu.agent.packages.tools import Tools, of_host
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["Verb", "main"]

Verb = Callable[[JsonMapping, Tools], JsonObject]


def main(words: List[str], verbs: Mapping[str, Verb]) -> int:
    """Carry out one verb; 0 if standard output holds the answer."""
    try:
        if len(words) != 1 or words[0] not in verbs:
            raise BadRequest(f"It is one of {', '.join(verbs)}, not {' '.join(words)!r}.")
        answer = verbs[words[0]](_request(), of_host())
    except AgentError as error:
        answer = {"error": {"kind": error.kind, "message": str(error)}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


def _request() -> JsonObject:
    try:
        request = json.loads(sys.stdin.read() or "{}")
    except ValueError as error:
        raise BadRequest(f"The request is no JSON: {error}.") from error
    if not isinstance(request, dict):
        raise BadRequest("The request must be one JSON object.")
    return request
