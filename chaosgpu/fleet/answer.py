# SPDX-License-Identifier: Apache-2.0
"""What came back from an agent, read: its one document, or one of our errors with a sentence that names the host."""

import json

from chaosgpu.errors import AgentFailed, BadArgument, ChaosGpuError, FaultUnverified, Refused, Unreachable
from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.transports import Reply
from chaosgpu.fleet.values import JsonObject, whole_object

__all__ = ["PROTOCOL", "judged", "read_reply"]

PROTOCOL = 1
_TAIL_BYTES = 600
_REFUSED = frozenset({"refused", "no_effect", "claimed", "forbidden", "halted"})


def judged(host: str, found: JsonObject | ChaosGpuError) -> JsonObject | ChaosGpuError:
    """Turn an error answer into one of ours."""
    if isinstance(found, ChaosGpuError) or found.get("error") is None:
        return found
    return _as_error(host, whole_object(found, "error"))


def read_reply(host: str, verb: str, reply: Reply) -> JsonObject | ChaosGpuError:
    """Return the document of a reply, an error answer as it is; Unreachable where it is none of our protocol."""
    try:
        return _parsed(host, verb, reply)
    except Unreachable as error:
        return error


def _parsed(host: str, verb: str, reply: Reply) -> JsonObject:
    """Read the one document of a reply; whatever is not an answer of our protocol is no answer."""
    try:
        answer = json.loads(reply.stdout)
    except ValueError as broken:
        raise Unreachable(
            f"The agent on {host} gave no answer to {verb!r} but {_what(reply)}. Run `chaosgpu agent {verb}` by hand."
        ) from broken
    if not isinstance(answer, dict):
        raise Unreachable(f"The agent on {host} answered {verb!r} with {_what(reply)} instead of a JSON object.")
    failed = answer.get("error") is not None
    if not failed and reply.status != 0:
        raise Unreachable(f"The agent on {host} ended {verb!r} with status {reply.status} after it had answered.")
    if not failed and answer.get("protocol", PROTOCOL) != PROTOCOL:
        raise Unreachable(
            f"The agent on {host} speaks protocol {answer['protocol']!r} and this controller {PROTOCOL}; "
            "install the same version of chaosgpu on both."
        )
    return answer


def _what(reply: Reply) -> str:
    """Describe a reply that is none: the ends of both streams, without secrets."""
    said = redact_text(reply.stderr[-_TAIL_BYTES:].decode(errors="replace")).strip()
    wrote = redact_text(reply.stdout[:120].decode(errors="replace")).strip()
    return (
        f"{f'the text {wrote!r}' if wrote else 'nothing'} (exit status {reply.status}"
        f"{f', it said: {said}' if said else ''})"
    )


def _as_error(host: str, error: JsonObject) -> ChaosGpuError:
    """Turn the agent's error into one of ours; the sentence keeps the host's name."""
    kind = str(error.get("kind") or "internal")
    said = redact_text(str(error.get("message") or "no message"))
    sentence = said if host in said else f"{host}: {said}"
    if kind == "bad_request":
        return BadArgument(sentence)
    if kind in _REFUSED:
        return Refused(sentence)
    if kind == "unverified":
        return FaultUnverified(sentence, kind)
    return AgentFailed(sentence, kind)
