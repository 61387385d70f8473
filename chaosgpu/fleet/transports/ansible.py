# SPDX-License-Identifier: Apache-2.0
"""The agents of the user's inventory: one `ansible-playbook` carries documents to each host and the answers back.

Connection, become, vault, forks and bastions are the user's own. The documents lie in a private folder and travel over
the connection's standard input: they are on no command line, in no variable and in no result.
"""

import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ansible.choose import hosts_of
from chaosgpu.fleet.ansible.events import Event, Ran
from chaosgpu.fleet.ansible.parcel import EVERYONE, Parcel, within_s
from chaosgpu.fleet.ansible.playbook import private_folder, run_playbook
from chaosgpu.fleet.ansible.reasons import why_no_answer, why_not_started
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.transports import Agree, Errand, Errands, Replies, Reply
from chaosgpu.fleet.values import JsonObject

__all__ = ["AnsibleTransport"]

logger = logging.getLogger("chaostoolkit")

# Ansible's own default; with more the run only ends sooner.
_FORKS = 5
_CONNECT_S = 20.0
_START_S = 20.0
_SAY_EVERY_S = 5.0
# Nobody knows before how many they are; each has a deadline of its own.
_EVERYONE_S = 3600.0
# What Ansible ends with when it has come to an end on every host, well or not: 2 failed, 4 unreachable, 6 both.
_WHOLE = frozenset({0, 2, 4, 6})
# What an agent waits at most for an agreed instant.
_AGREED_S = 60.0
# How a clock is read: until its error is small enough, from some tries on until it is of use, on a busy controller. At
# once as many as there are cores, since readings slow each other down; after `turns_s` whoever still waits reads too.
_CLOCK: JsonObject = {"enough_s": 0.005, "usual_tries": 3, "usable_s": 0.02, "tries": 48, "turns_s": 10.0}


class AnsibleTransport:
    """Reaches the hosts of one inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def command_of(self, host: str) -> tuple[str, ...] | None:  # noqa: ARG002 (the seam)
        """Return the program that renews on all hosts; None where leases end when their time is over, the default."""
        if not self._inventory.renew:
            return None
        return (sys.executable, "-m", "chaosgpu.fleet.renew", json.dumps(self._inventory.as_json()))

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Carry to one host."""
        [found] = self.carry_many({host: [Errand(verb, document, timeout_s)]})[host]
        if isinstance(found, ChaosGpuError):
            raise found
        return found

    def carry_many(self, errands: Errands) -> Replies:
        """Do all errands in one run of Ansible and one command a host, which has the time of its errands together."""
        verbs = ", ".join(dict.fromkeys(errand.verb for those in errands.values() for errand in those))
        longest_s = max(map(within_s, errands.values()))
        with private_folder() as folder:
            parcel = Parcel(folder, self._inventory)
            parcel.fill(errands)
            parcel.order({}, longest_s)
            ran = self._run(verbs, [*errands], folder, longest_s)
            return self._answers(parcel, errands, ran)

    def carry_together(self, hosts: Sequence[str], agree: Agree, timeout_s: float) -> Replies:
        """Do both in one run of Ansible: each host's worker keeps its connection until the clocks of all are known.

        An errand may take a minute longer than comparing the clocks may.
        """
        longest_s = 2 * timeout_s + _AGREED_S
        agreed: list[Errands] = []
        with private_folder() as folder:
            parcel = Parcel(folder, self._inventory)

            def look(ran: Ran) -> None:
                if not agreed and (found := parcel.clocks(hosts, lambda host: self._no_clock(host, ran, timeout_s))):
                    agreed.append(agree(found))
                    parcel.fill(agreed[0])
                    parcel.go()

            clock: JsonObject = {**_CLOCK, "at_once": len(os.sched_getaffinity(0)), "wait_s": longest_s}
            parcel.order({"clock": clock}, longest_s)
            ran = self._run("clock, apply", hosts, folder, longest_s, f"--forks={len(hosts)}", on_look=look)
            if not agreed:  # it ended before all clocks were known: `agree` says what that means
                agreed.append(
                    agree(parcel.clocks(hosts, lambda host: why_no_answer(host, "clock", ran, timeout_s)) or {})
                )
            return self._answers(parcel, agreed[0], ran)

    def carry_everyone(self, errand: Errand) -> dict[str, Reply | ChaosGpuError]:
        """Do one errand on every host within the limit, whichever those are: Ansible says it as it goes."""
        limit = [] if self._inventory.limit is None else [f"--limit={self._inventory.limit}"]
        with private_folder() as folder:
            parcel = Parcel(folder, self._inventory)
            parcel.fill({EVERYONE: [errand]})
            parcel.order({}, errand.timeout_s)
            play, progress = _play(errand.verb, ["all"], errand.timeout_s), _Progress(errand.verb, ())
            ran = run_playbook(
                self._inventory, [play], folder, _EVERYONE_S, *limit, mismatch="error", on_event=progress.take
            )
            hosts = sorted(ran.begun | ran.ended.keys())
            if not hosts or ran.begun - ran.ended.keys() or ran.status not in _WHOLE:
                hosts = [*hosts_of(self._inventory, ["all"])["all"]]  # it says what is wrong, or who is missing
            return {host: self._answers_of(parcel, host, [errand], ran)[0] for host in hosts}

    @staticmethod
    def _no_clock(host: str, ran: Ran, timeout_s: float) -> ChaosGpuError | None:
        """Say why the clock of a host is unknown, once Ansible is done with it."""
        return why_no_answer(host, "clock", ran, timeout_s) if host in ran.ended else None

    def _run(
        self,
        what: str,
        hosts: Sequence[str],
        folder: Path,
        timeout_s: float,
        *options: str,
        on_look: Callable[[Ran], None] = lambda _: None,
    ) -> Ran:
        """Let Ansible do one thing on these hosts."""
        deadline_s = _START_S + math.ceil(len(hosts) / _FORKS) * (_CONNECT_S + timeout_s)
        play, progress = _play(what, hosts, timeout_s), _Progress(what, hosts)
        return run_playbook(
            self._inventory, [play], folder, deadline_s, *options, on_event=progress.take, on_look=on_look
        )

    def _answers(self, parcel: Parcel, errands: Errands, ran: Ran) -> Replies:
        """Read each host's answers, or say why there are none."""
        return {host: self._answers_of(parcel, host, those, ran) for host, those in errands.items()}

    def _answers_of(
        self, parcel: Parcel, host: str, errands: Sequence[Errand], ran: Ran
    ) -> list[Reply | ChaosGpuError]:
        found = parcel.answers(host)
        if found is None:
            return [why_no_answer(host, errand.verb, ran, within_s(errands)) for errand in errands]
        *replies, rest = found
        missing = errands[len(replies) :]  # the command ended before it came to these
        agent = self._inventory.agent
        return [*replies, *(why_not_started(host, agent, errand.verb, rest) or rest for errand in missing)]


def _play(verb: str, hosts: Sequence[str], timeout_s: float) -> JsonObject:
    """Return the one play; what belongs to the user (become, strategy, forks) is not in it."""
    return {
        "name": verb,
        "hosts": [*hosts],
        "gather_facts": False,
        "any_errors_fatal": False,
        "tasks": [{"name": verb, "chaosgpu_carry": {}, "timeout": math.ceil(timeout_s), "check_mode": False}],
    }


class _Progress:
    """Says now and then how many hosts have answered; of how many, where that is known."""

    def __init__(self, verb: str, hosts: Sequence[str]) -> None:
        self._verb, self._all, self._done = verb, len(hosts), 0
        self._said_s = time.monotonic()

    def take(self, event: Event) -> None:
        """Take one event of Ansible."""
        logger.debug("%s: %s %s", event.host, self._verb, event.event)
        if event.event == "begun":
            return
        self._done += 1
        now_s = time.monotonic()
        if self._done != self._all and now_s - self._said_s > _SAY_EVERY_S:
            self._said_s = now_s
            of_all = f" of {self._all}" if self._all else ""
            logger.info("  %s: %d%s hosts have answered", self._verb, self._done, of_all)
