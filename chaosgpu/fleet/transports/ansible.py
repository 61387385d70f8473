# SPDX-License-Identifier: Apache-2.0
"""The agents of the user's inventory: one `ansible-playbook` carries a document to each host and its answer back.

Connection, become, vault, forks and bastions are the user's own. The documents lie in a private folder and travel over
the connection's standard input: they are on no command line, in no variable and in no result.
"""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaosgpu.errors import BadArgument, ChaosGpuError, Unreachable
from chaosgpu.fleet.ansible.agent_file import agent_digest, agent_file
from chaosgpu.fleet.ansible.playbook import Event, Ran, private_folder, run_playbook
from chaosgpu.fleet.ansible.reasons import command, install, why_no_answer, why_not_started
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.transports import Clock, Reply
from chaosgpu.fleet.values import JsonObject

__all__ = ["AnsibleTransport"]

logger = logging.getLogger("chaostoolkit")

_VERBS = frozenset({"apply", "doctor", "facts", "halt", "list", "read", "record", "renew", "resume", "sweep", "undo"})
# Whatever agent is there must be able to undo and to tell; only our own puts a fault in. The facts are asked for before
# that, and are what a run is refused by.
_CHECKED = frozenset({"apply", "facts"})
# Ansible's own default; with more the run only ends sooner.
_FORKS = 5
_CONNECT_S = 20.0
_START_S = 20.0
_SAY_EVERY_S = 5.0
# How often a clock is read at most, and the error that is small enough to stop.
_CLOCK_TRIES = 12
_CLOCK_ERROR_S = 0.005


class AnsibleTransport:
    """Reaches the hosts of one inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def command_of(self, host: str) -> tuple[str, ...] | None:  # noqa: ARG002 (the seam)
        """Return None: leases of a fleet are not renewed, they end when their time is over."""
        return None

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Carry to one host."""
        found = self.carry_many(verb, {host: document}, timeout_s, together=False)[host]
        if isinstance(found, ChaosGpuError):
            raise found
        return found

    def carry_many(
        self, verb: str, documents: Mapping[str, bytes], timeout_s: float, *, together: bool
    ) -> dict[str, Reply | ChaosGpuError]:
        """Carry to all these hosts in one run of Ansible; each host has `timeout_s` for itself."""
        if verb not in _VERBS:
            raise BadArgument(f"The agent has no verb {verb!r}.")
        digest = agent_digest() if verb in _CHECKED else ""
        order: JsonObject = {"command": command(self._inventory.agent, verb, digest)}
        forks = (f"--forks={len(documents)}",) if together else ()
        with private_folder() as folder:
            if digest and self._inventory.push:
                (folder / "agent.pyz").write_bytes(agent_file())
                order["push"] = {
                    "list": command(self._inventory.agent, "list", ""),
                    "install": install(self._inventory.agent),
                }
            for number, document in enumerate(documents.values()):
                (folder / f"{number}.request").write_bytes(document)
            ran = self._run(verb, list(documents), order, folder, timeout_s, *forks)
            return {
                host: self._answer(folder / f"{number}.answer", host, verb, ran, timeout_s)
                for number, host in enumerate(documents)
            }

    def clocks(self, hosts: Sequence[str], timeout_s: float) -> dict[str, Clock | ChaosGpuError]:
        """Read each host's clock over the connection that Ansible keeps open, all at once."""
        order: JsonObject = {"clock": {"tries": _CLOCK_TRIES, "enough_s": _CLOCK_ERROR_S}}
        with private_folder() as folder:
            ran = self._run("clock", list(hosts), order, folder, timeout_s, f"--forks={len(hosts)}")
            return {
                host: _clock(folder / f"{number}.answer", host, ran, timeout_s) for number, host in enumerate(hosts)
            }

    def _run(
        self, what: str, hosts: list[str], order: JsonObject, folder: Path, timeout_s: float, *options: str
    ) -> Ran:
        """Let Ansible do one thing on these hosts."""
        numbered: JsonObject = {host: number for number, host in enumerate(hosts)}
        (folder / "order.json").write_text(json.dumps({**order, "hosts": numbered}))
        deadline_s = _START_S + math.ceil(len(hosts) / _FORKS) * (_CONNECT_S + timeout_s)
        play = _play(what, hosts, timeout_s)
        progress = _Progress(what, hosts)
        return run_playbook(self._inventory, [play], folder, deadline_s, *options, on_event=progress.take)

    def _answer(self, path: Path, host: str, verb: str, ran: Ran, timeout_s: float) -> Reply | ChaosGpuError:
        """Read a host's answer, or say why there is none."""
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return why_no_answer(host, verb, ran, timeout_s)
        stdout, stderr = (str(found[name]).encode(errors="surrogateescape") for name in ("stdout", "stderr"))
        reply = Reply(int(found["status"]), stdout, stderr)
        return why_not_started(host, self._inventory.agent, reply) or reply


def _play(verb: str, hosts: list[str], timeout_s: float) -> JsonObject:
    """Return the one play; what belongs to the user (become, strategy, forks) is not in it."""
    return {
        "name": verb,
        "hosts": [*hosts],
        "gather_facts": False,
        "any_errors_fatal": False,
        "tasks": [{"name": verb, "chaosgpu_carry": {}, "timeout": math.ceil(timeout_s), "check_mode": False}],
    }


def _clock(path: Path, host: str, ran: Ran, timeout_s: float) -> Clock | ChaosGpuError:
    """Read what was found of a host's clock."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return why_no_answer(host, "clock", ran, timeout_s)
    clock = found["clock"]
    if clock is None:
        return Unreachable(f"the clock of {host} cannot be read: `date +%s.%N` said {found['said']!r}")
    return Clock(float(clock["ahead_s"]), float(clock["error_s"]))


class _Progress:
    """Says now and then which hosts have not answered yet."""

    def __init__(self, verb: str, hosts: list[str]) -> None:
        self._verb, self._waiting, self._all = verb, dict.fromkeys(hosts), len(hosts)
        self._said_s = time.monotonic()

    def take(self, event: Event) -> None:
        """Take one event of Ansible."""
        logger.debug("%s: %s %s", event.host, self._verb, event.event)
        if event.event == "begun":
            return
        self._waiting.pop(event.host, None)
        now_s = time.monotonic()
        if self._waiting and now_s - self._said_s > _SAY_EVERY_S:
            self._said_s = now_s
            logger.info("  %s: %d of %d hosts have answered", self._verb, self._all - len(self._waiting), self._all)
