# SPDX-License-Identifier: Apache-2.0
"""The private folder as controller and action share it: what each host is asked, what it answered, and its clock.

A file is named by its host; without a host's name it is for every host that has none of its own.
"""

import json
import math
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from chaosgpu.errors import BadArgument, ChaosGpuError, Unreachable
from chaosgpu.fleet.ansible.agent_file import agent_digest, agent_file
from chaosgpu.fleet.ansible.on_host import command, documents, install, split
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.transports import Clock, Clocks, Errand, Errands, Reply
from chaosgpu.fleet.values import JsonObject

__all__ = ["EVERYONE", "Parcel", "within_s"]

# A name that no host has.
EVERYONE = ""

# One of two words is of a room of the agent.
_VERBS = frozenset({
    "apply", "doctor", "facts", "halt", "list", "read", "record", "renew", "resume", "service status", "sweep", "undo",
})  # fmt: skip
# Whatever agent is there must be able to undo and to tell; only our own puts a fault in. The facts are asked for before
# that, and are what a run is refused by.
_CHECKED = frozenset({"apply", "facts"})
# Nobody is helped by a way back that is cut short: it may go on for so long though nobody waits for it any more.
_WAYS_BACK = frozenset({"halt", "sweep", "undo"})
_BACK_S = 900.0


def within_s(errands: Sequence[Errand]) -> float:
    """Return how long the command of a host may take."""
    return sum(errand.timeout_s for errand in errands)


def _on_host_s(errands: Sequence[Errand]) -> int:
    """Return after how long the host ends the command by itself."""
    back = any(errand.verb in _WAYS_BACK for errand in errands)
    return math.ceil(max(within_s(errands), _BACK_S if back else 0.0))


class Parcel:
    """One folder for one run of Ansible."""

    def __init__(self, folder: Path, inventory: Inventory) -> None:
        self._folder, self._inventory = folder, inventory
        self._mark = secrets.token_hex(8)

    def order(self, order: JsonObject, longest_s: float) -> None:
        """Write what counts for all hosts, and our own agent where it may be put there instead of another."""
        agent = self._inventory.agent
        push: JsonObject = {}
        if self._inventory.push:
            (self._folder / "agent.pyz").write_bytes(agent_file())
            listing = command(agent, [("list", False)], "", self._mark, math.ceil(longest_s))
            push = {"push": {"list": listing, "install": install(agent)}}
        (self._folder / "order.json").write_text(json.dumps({**order, **push}))

    def fill(self, errands: Errands) -> None:
        """Write each host's command and documents; there may be hosts without any. EVERYONE: of all other hosts."""
        verbs = {errand.verb for those in errands.values() for errand in those}
        if verbs - _VERBS:
            raise BadArgument(f"The agent has no verb {min(verbs - _VERBS)!r}.")
        digest = agent_digest() if verbs & _CHECKED else ""
        for host, those in errands.items():
            words = [(errand.verb, errand.verb in _CHECKED) for errand in those]
            line = command(self._inventory.agent, words, digest, self._mark, _on_host_s(those))
            self._path(host, "request").write_bytes(documents([errand.document for errand in those]))
            self._path(host, "command").write_text(line)

    def go(self) -> None:
        """Let those go on that wait with their clock compared."""
        (self._folder / "go").touch()

    def clocks(self, hosts: Sequence[str], why_none: Callable[[str], ChaosGpuError | None]) -> Clocks | None:
        """Return what was found of each host's clock; None while one may still come."""
        found: dict[str, Clock | ChaosGpuError] = {}
        for host in hosts:
            clock = self._clock(host) or why_none(host)
            if clock is None:
                return None
            found[host] = clock
        return found

    def answers(self, host: str) -> list[Reply] | None:
        """Return the reply to each errand of a host, and then the rest of its command's; None where none came."""
        try:
            found = json.loads(self._path(host, "answer").read_bytes())
        except FileNotFoundError:
            return None
        stdout, stderr = (str(found[name]).encode(errors="surrogateescape") for name in ("stdout", "stderr"))
        return split(Reply(int(found["status"]), stdout, stderr), self._mark)

    def _clock(self, host: str) -> Clock | ChaosGpuError | None:
        try:
            found = json.loads(self._path(host, "clock").read_bytes())
        except FileNotFoundError:
            return None
        clock = found["clock"]
        if clock is None:
            return Unreachable(f"the clock of {host} cannot be read: `date +%s.%N` said {found['said']!r}")
        return Clock(float(clock["ahead_s"]), float(clock["error_s"]))

    def _path(self, host: str, kind: str) -> Path:
        return self._folder / (kind if host == EVERYONE else f"{quote(host, safe='')}.{kind}")
