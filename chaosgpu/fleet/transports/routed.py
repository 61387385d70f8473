# SPDX-License-Identifier: Apache-2.0
"""This host through one transport, every other host through another."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.transports import (
    Agree,
    Clock,
    Clocks,
    Errand,
    Errands,
    EveryoneTransport,
    Replies,
    Reply,
    Transport,
    carry_many,
    carry_together,
)

__all__ = ["Others", "RoutedTransport"]


class Others(Transport, EveryoneTransport, Protocol):
    """The way to the hosts of an inventory."""


class RoutedTransport:
    """Chooses by the host's name; `others` are every host of an inventory."""

    def __init__(self, here: str, local: Transport, others: Others) -> None:
        self._here, self._local, self._others = here, local, others

    def command_of(self, host: str) -> tuple[str, ...] | None:
        """Return what reaches all hosts, this one too, where there is such a command; else the host's own."""
        return self._others.command_of(host) or self._way(host).command_of(host)

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Carry by the host's own transport."""
        return self._way(host).carry(host, verb, document, timeout_s)

    def carry_many(self, errands: Errands) -> Replies:
        """Carry by both at the same time."""
        others = {host: those for host, those in errands.items() if host != self._here}
        here = {host: those for host, those in errands.items() if host == self._here}
        if not here or not others:  # in our own thread, where an interruption of the run arrives
            return carry_many(self._local if here else self._others, errands)
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(carry_many, self._local, here)
            return carry_many(self._others, others) | ours.result()

    def carry_together(self, hosts: Sequence[str], agree: Agree, timeout_s: float) -> Replies:
        """Compare the others' clocks with ours, which is this host's too, and carry by both at the same time."""
        if self._here not in hosts:
            return carry_together(self._others, hosts, agree, timeout_s)
        others = [host for host in hosts if host != self._here]
        with ThreadPoolExecutor(1) as pool:
            ours: list[Future[Replies]] = []

            def of_all(found: Clocks) -> Errands:
                errands = dict(agree({self._here: Clock(0.0, 0.0), **found}))
                ours.append(pool.submit(carry_many, self._local, {self._here: errands.pop(self._here, [])}))
                return errands

            return carry_together(self._others, others, of_all, timeout_s) | ours[0].result()

    def carry_everyone(self, errand: Errand) -> dict[str, Reply | ChaosGpuError]:
        """Carry to every host of the inventory, which this one is not."""
        return self._others.carry_everyone(errand)

    def _way(self, host: str) -> Transport:
        return self._local if host == self._here else self._others
