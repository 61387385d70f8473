# SPDX-License-Identifier: Apache-2.0
"""One request to the agent of a host, and its answer or one of our errors."""

import contextlib
import getpass
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from chaosgpu.errors import BadArgument, ChaosGpuError
from chaosgpu.fleet.answer import PROTOCOL, judged, read_reply
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.targets import LOCAL, are_known, known_hosts, one_host, set_inventory, take_known
from chaosgpu.fleet.transports import (
    Clocks,
    Errand,
    Errands,
    EveryoneTransport,
    Replies,
    Transport,
    carry_many,
    carry_together,
)
from chaosgpu.fleet.transports.ansible import AnsibleTransport
from chaosgpu.fleet.transports.local import LocalTransport
from chaosgpu.fleet.transports.routed import RoutedTransport
from chaosgpu.fleet.values import JsonObject, seconds

__all__ = [
    "PROTOCOL",
    "Question",
    "ask",
    "ask_all",
    "ask_everyone",
    "ask_many",
    "ask_raw",
    "ask_together",
    "change_id",
    "command_of",
    "operator",
    "use_inventory",
    "use_transport",
]

# Nobody's patience ends a way back halfway; what else the host is asked, it ends by itself when nobody waits any more.
_PUTS_BACK = ("undo", "sweep", "halt")
_LATER_S = 2.0
_LONGEST_S = 86400.0
# As the plan of a drill has it: it goes into logs and records.
_CHANGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/#:-]{0,59}")


@dataclass(frozen=True)
class Question:
    """One request to the agent of one host."""

    host: str
    verb: str
    request: JsonObject
    timeout_s: float


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


def change_id() -> str | None:
    """Return the change that this belongs to, from CHAOSGPU_CHANGE_TICKET; hosts write it to their syslog.

    None where there is none, or what is there is no change's name: nothing that has to be undone waits for that.
    """
    found = os.environ.get("CHAOSGPU_CHANGE_TICKET", "")
    return found if _CHANGE.fullmatch(found) else None


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


def ask_many(verb: str, requests: Mapping[str, JsonObject], timeout_s: float) -> dict[str, JsonObject | ChaosGpuError]:
    """Carry to each host its own request, all at once; return each one's answer, or the error that it is for `ask`.

    The hosts are names that were chosen or recorded before, never patterns.
    """
    asked = [Question(host, verb, request, timeout_s) for host, request in requests.items()]
    return dict(zip(requests, ask_all(asked), strict=True))


def ask_all(questions: Sequence[Question]) -> list[JsonObject | ChaosGpuError]:
    """Carry all questions, those of one host in one round trip and in this order; return the answers in it too.

    A later question of a host is answered after what the earlier ones did there.
    """
    return [judged(one.host, found) for one, found in zip(questions, _raw(questions), strict=True)]


def ask_everyone(verb: str, request: JsonObject, timeout_s: float) -> dict[str, JsonObject | ChaosGpuError]:
    """Ask every known host, in one run of Ansible: not even who they are is asked before. For what changes nothing."""
    transport = _Chosen.transport
    if are_known() or not isinstance(transport, EveryoneTransport):
        return ask_many(verb, dict.fromkeys(known_hosts(), request), timeout_s)
    errand = Errand(verb, _document("every host", verb, request, timeout_s), seconds("timeout_s", timeout_s))
    replies = transport.carry_everyone(errand)
    take_known(replies)
    asked = [Question(host, verb, request, timeout_s) for host in replies]
    found = _read(asked, {host: [reply] for host, reply in replies.items()})
    return {host: judged(host, one) for host, one in zip(replies, found, strict=True)}


def ask_together(
    hosts: Sequence[str], agree: Callable[[Clocks], Sequence[Question]], timeout_s: float
) -> list[JsonObject | ChaosGpuError]:
    """Compare the hosts' clocks with ours, then carry what `agree` asks of them, none waiting for another.

    What `agree` raises goes through, and nothing was asked. Returns the answers in the order of its questions.
    """
    asked: list[Question] = []

    def errands(found: Clocks) -> Errands:
        asked.extend(agree(found))
        return _errands(asked)

    replies = carry_together(_Chosen.transport, hosts, errands, seconds("timeout_s", timeout_s))
    return [judged(one.host, found) for one, found in zip(asked, _read(asked, replies), strict=True)]


def ask_raw(host: str, verb: str, request: JsonObject, timeout_s: float) -> JsonObject:
    """Do as `ask`, but return an error answer as the agent gave it."""
    [found] = _raw([Question(host, verb, request, timeout_s)])
    if isinstance(found, ChaosGpuError):
        raise found
    return found


def _raw(questions: Sequence[Question]) -> list[JsonObject | ChaosGpuError]:
    """Carry, and read what came back."""
    return _read(questions, carry_many(_Chosen.transport, _errands(questions))) if questions else []


def _errands(questions: Sequence[Question]) -> Errands:
    errands: dict[str, list[Errand]] = {}
    for one in questions:
        document = _document(one.host, one.verb, one.request, one.timeout_s)
        errands.setdefault(one.host, []).append(Errand(one.verb, document, seconds("timeout_s", one.timeout_s)))
    return errands


def _read(questions: Sequence[Question], replies: Replies) -> list[JsonObject | ChaosGpuError]:
    """Read the reply to each question."""
    of_host = {host: iter(those) for host, those in replies.items()}
    return [
        reply if isinstance(reply := next(of_host[one.host]), ChaosGpuError) else read_reply(one.host, one.verb, reply)
        for one in questions
    ]


def _document(host: str, verb: str, request: JsonObject, timeout_s: float) -> bytes:
    whole: JsonObject = {"protocol": PROTOCOL, "operator": operator()}
    change = change_id()
    if change is not None:
        whole["change_id"] = change
    if verb not in _PUTS_BACK:
        whole["deadline_s"] = min(seconds("timeout_s", timeout_s) + _LATER_S, _LONGEST_S)
    try:
        return json.dumps({**whole, **request}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadArgument(f"The request {verb!r} for {host} cannot be written as JSON: {error}.") from error
