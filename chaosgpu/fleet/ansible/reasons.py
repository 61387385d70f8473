# SPDX-License-Identifier: Apache-2.0
"""In one sentence why no answer came of what is run on a host."""

import re

from chaosgpu.errors import AgentFailed, ChaosGpuError, NotReached, Refused, Unreachable
from chaosgpu.fleet.ansible.events import Ran
from chaosgpu.fleet.ansible.minder import DEADLINE
from chaosgpu.fleet.ansible.on_host import ENDED
from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.transports import Reply

__all__ = ["why_no_answer", "why_not_started"]

_NO_PYTHON = (
    "The agent on {host} could not be started: {said}. It needs a Python of 3.9 or later as python3 there; nothing was "
    "touched."
)
# What the exit statuses of the command on the host mean where nothing was answered; 94 and 95 are the action's own.
_NOT_STARTED = {
    90: "{host} has no agent at {agent}: install it there (docs/fleet.md); nothing was touched.",
    91: (
        "The agent {agent} on {host} is not the one of this controller (SHA-256 {said:.16}…): install the same release "
        "on both; nothing was touched. What is in force there can still be undone."
    ),
    92: "The agent {agent} on {host} cannot be compared with ours: {said}. Nothing was touched.",
    93: (
        "sudo on {host} does not let this user run the agent: {said}. Add the line of docs/fleet.md to sudoers, or set "
        "ansible_become; nothing was touched."
    ),
    94: (
        "{host} has another agent at {agent} that holds something or cannot be asked, so it was not replaced: {said}. "
        "Undo that first (chaosgpu leases)."
    ),
    95: "The agent could not be put on {host} as {agent}: {said}. It needs root or ansible_become.",
    126: _NO_PYTHON,
    127: _NO_PYTHON,
}
_LONGEST = 400
# What ssh says before there is a session: nothing of ours has left then. ("Data could not be sent", Ansible's word for
# every connection that ends with 255, says nothing of that.)
_NO_SESSION = re.compile(
    r"ssh: connect to host|Could not resolve hostname|Host key verification failed|REMOTE HOST IDENTIFICATION"
    r"|Permission denied \(|kex_exchange_identification|Connection timed out during banner exchange"
    r"|Too many authentication failures"
)
_SUDO = re.compile(r"(?i)(missing|incorrect|duplicate) (sudo|su|become|\w+) password|privilege escalation")
# A variable of the connection that cannot be read ends a task before anything of it is sent.
_VARIABLE = re.compile(r"Error processing keyword|undecryptable variable|Decryption failed")
_TIMED_OUT = re.compile(r"(?i)timed out after|time frame|exceeded its timeout|\btimeout\b.*\bterminated")


def why_not_started(host: str, agent: str, verb: str, reply: Reply) -> ChaosGpuError | None:
    """Say why the agent did not answer by the status of the command; None where that says nothing of it."""
    if reply.stdout.strip():
        return None
    if reply.status == ENDED:
        return Unreachable(
            f"{host} did not answer {verb!r} in its time, and ended the call by itself. Look at `chaosgpu leases`, or "
            "give it a longer timeout_s."
        )
    if reply.status not in _NOT_STARTED:
        return None
    said = _short(reply.stderr.decode(errors="replace")) or "no reason given"
    return Refused(_NOT_STARTED[reply.status].format(host=host, agent=agent, said=said))


def why_no_answer(host: str, verb: str, ran: Ran, timeout_s: float) -> ChaosGpuError:
    """Say what Ansible told about a host without an answer."""
    event = ran.ended.get(host)
    said = "" if event is None else _short(event.message)
    if event is None and host not in ran.begun and ran.status != DEADLINE:
        why = ran.said or f"it ended with status {ran.status} and said nothing; is {host} still in the inventory?"
        return NotReached(f"ansible-playbook did not get as far as {host} with {verb!r}, nothing was sent: {why}")
    late = (event is None and ran.status == DEADLINE) or _TIMED_OUT.search(said)
    if late:
        return Unreachable(
            f"{host} did not answer {verb!r} within {timeout_s:g} s, and the call was ended. "
            "Look at `chaosgpu leases`, or give it a longer timeout_s."
        )
    if event is not None and _VARIABLE.search(said):
        return NotReached(f"Ansible cannot read its variables for {host}, so nothing was sent for {verb!r}: {said}.")
    if event is not None and _SUDO.search(said):
        return Refused(f"{host} could not become root for {verb!r}: {said}. Nothing was touched.")
    if event is not None and event.event == "unreachable":
        kind = NotReached if _NO_SESSION.search(said) else Unreachable
        return kind(f"{host} cannot be reached for {verb!r}: {said}. Is it up? ansible -m ping {host} shows the same.")
    if event is None:
        return Unreachable(f"The call of {verb!r} to {host} was ended before it had answered.")
    return AgentFailed(f"{host}: Ansible could not carry {verb!r}: {said or 'no reason given'}.", "carry")


def _short(said: str) -> str:
    """Put what was said on one line, without secrets."""
    text = redact_text(" ".join(said.split())).rstrip(". ")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
