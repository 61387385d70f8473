# SPDX-License-Identifier: Apache-2.0
"""One request to the agent of a host, and its answer or one of our errors."""

import contextlib
import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence

from chaosgpu.errors import AgentFailed, BadArgument, ChaosGpuError, FaultUnverified, Refused, Unreachable
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.targets import LOCAL, one_host, set_inventory
from chaosgpu.fleet.transports import Clock, Reply, Transport, carry_many, clocks
from chaosgpu.fleet.transports.ansible import AnsibleTransport
from chaosgpu.fleet.transports.local import LocalTransport
from chaosgpu.fleet.transports.routed import RoutedTransport
from chaosgpu.fleet.values import JsonObject, seconds, whole_object

__all__ = [
    "PROTOCOL",
    "ask",
    "ask_many",
    "ask_raw",
    "clocks_of",
    "command_of",
    "operator",
    "use_inventory",
    "use_transport",
]

PROTOCOL = 1
_TAIL_BYTES = 600
_REFUSED = frozenset({"refused", "no_effect", "claimed", "forbidden", "halted"})


class _Chosen:
    """The transport of this process."""

    transport: Transport = LocalTransport()


@contextlib.contextmanager
def use_transport(transport: Transport) -> Iterator[None]:
    """Reach agents through another transport inside the block."""
    before = _Chosen.transport
    _Chosen.transport = transport
    try:
        yield
    finally:
        _Chosen.transport = before


def use_inventory(inventory: Inventory | None) -> None:
    """Reach the hosts of this inventory from now on, by Ansible; without one this host alone."""
    set_inventory(inventory)
    local = LocalTransport()
    _Chosen.transport = local if inventory is None else RoutedTransport(LOCAL, local, AnsibleTransport(inventory))


def operator() -> str:
    """Name who asks: the AWX user, who called sudo, or the login; the agent writes it to the host's syslog."""
    for variable in ("AWX_USER_NAME", "TOWER_USER_NAME", "SUDO_USER"):
        if os.environ.get(variable):
            return os.environ[variable]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in a container
        return f"uid {os.getuid()}"


def command_of(host: str) -> tuple[str, ...] | None:
    """Return the command that starts the agent of `host` from another process too; None where there is none."""
    return _Chosen.transport.command_of(host)


def ask(hosts: str, verb: str, request: JsonObject, timeout_s: float) -> JsonObject:
    """Carry one request to the agent on `hosts` and return its answer.

    Raises BadArgument, Refused, FaultUnverified, AgentFailed or Unreachable; the sentence names the host.
    """
    host = one_host(hosts)
    found = ask_many(verb, {host: request}, timeout_s)[host]
    if isinstance(found, ChaosGpuError):
        raise found
    return found


def ask_many(
    verb: str, requests: Mapping[str, JsonObject], timeout_s: float, *, together: bool = False
) -> dict[str, JsonObject | ChaosGpuError]:
    """Carry to each host its own request, all at once; return each one's answer, or the error that it is for `ask`.

    The hosts are names that were chosen or recorded before, never patterns. `together`: none waits for another.
    """
    found = _raw(verb, requests, timeout_s, together=together)
    return {host: _judged(host, one) for host, one in found.items()}


def clocks_of(hosts: Sequence[str], timeout_s: float) -> dict[str, Clock | ChaosGpuError]:
    """Compare the clock of each host with this controller's, or say why it is unknown."""
    return clocks(_Chosen.transport, hosts, seconds("timeout_s", timeout_s))


def ask_raw(host: str, verb: str, request: JsonObject, timeout_s: float) -> JsonObject:
    """Do as `ask`, but return an error answer as the agent gave it."""
    found = _raw(verb, {host: request}, timeout_s)[host]
    if isinstance(found, ChaosGpuError):
        raise found
    return found


def _raw(
    verb: str, requests: Mapping[str, JsonObject], timeout_s: float, *, together: bool = False
) -> dict[str, JsonObject | ChaosGpuError]:
    """Carry, and read what came back."""
    deadline_s = seconds("timeout_s", timeout_s)
    documents = {host: _document(host, verb, request) for host, request in requests.items()}
    return {
        host: reply if isinstance(reply, ChaosGpuError) else _answer(host, verb, reply)
        for host, reply in carry_many(_Chosen.transport, verb, documents, deadline_s, together=together).items()
    }


def _document(host: str, verb: str, request: JsonObject) -> bytes:
    try:
        return json.dumps({"protocol": PROTOCOL, "operator": operator(), **request}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadArgument(f"The request {verb!r} for {host} cannot be written as JSON: {error}.") from error


def _judged(host: str, found: JsonObject | ChaosGpuError) -> JsonObject | ChaosGpuError:
    """Turn an error answer into one of ours."""
    if isinstance(found, ChaosGpuError) or found.get("error") is None:
        return found
    return _as_error(host, whole_object(found, "error"))


def _answer(host: str, verb: str, reply: Reply) -> JsonObject | ChaosGpuError:
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
