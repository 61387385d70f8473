# SPDX-License-Identifier: Apache-2.0
"""One JSON object in, one out. A request of another protocol is refused: guessing could undo the wrong thing."""

import json
import re
import signal
from typing import BinaryIO, FrozenSet

from chaosgpu.agent import values
from chaosgpu.agent.errors import AgentError, BadRequest
from chaosgpu.agent.values import JsonObject

__all__ = ["PROTOCOL", "answer", "arm", "error_answer", "read_request", "write"]

PROTOCOL = 1
_LARGEST_REQUEST_BYTES = 1 << 20
_ALWAYS = frozenset({"protocol", "operator", "change_id", "deadline_s"})
_LONGEST_S = 86400.0
# A change's name goes into logs and records: no spaces, one line.
_CHANGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/#:-]{0,59}")


def read_request(stream: BinaryIO) -> JsonObject:
    """Read one JSON object of our protocol."""
    raw = stream.read(_LARGEST_REQUEST_BYTES + 1)
    if len(raw) > _LARGEST_REQUEST_BYTES:
        raise BadRequest(f"The request is longer than {_LARGEST_REQUEST_BYTES} bytes.")
    try:
        request = json.loads(raw)
    except ValueError as error:
        raise BadRequest(f"The request on standard input is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise BadRequest("The request on standard input must be one JSON object.")
    spoken = request.get("protocol")
    if spoken != PROTOCOL or isinstance(spoken, bool):
        raise BadRequest(
            f"This agent speaks protocol {PROTOCOL}, and the request has {spoken!r}: "
            "install the same release of chaosgpu on the controller and on this host."
        )
    return request


def check_keys(request: JsonObject, verb: str, allowed: FrozenSet[str]) -> None:
    """Refuse keys that the verb does not read."""
    values.only(request, verb, allowed | _ALWAYS)
    values.optional_text(request, "operator")
    change = values.optional_text(request, "change_id")
    if change is not None and not _CHANGE.fullmatch(change):
        raise BadRequest(f"change_id must be a change's name of up to 60 signs without spaces, not {change!r}.")


def arm(request: JsonObject) -> None:
    """Have the kernel end this process when its `deadline_s` is over: whoever asked no longer waits for it.

    That is one more death at any moment, and whatever it was at is put back as after every other.
    """
    if request.get("deadline_s") is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, values.number(request, "deadline_s", 0.1, _LONGEST_S))


def answer(body: JsonObject) -> JsonObject:
    """Return the whole answer of a verb."""
    return {"protocol": PROTOCOL, **body}


def error_answer(error: AgentError, host: str) -> JsonObject:
    """Return the answer of a verb that did not do what was asked."""
    return {"error": {"kind": error.kind, "message": str(error), "host": host, "lease": error.lease}}


def write(stream: BinaryIO, document: JsonObject) -> None:
    """Write one line of JSON."""
    stream.write(json.dumps(document).encode() + b"\n")
    stream.flush()
