# SPDX-License-Identifier: Apache-2.0
"""This host through one transport, every other host through another."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.transports import Clock, Reply, Transport, carry_many, clocks

__all__ = ["RoutedTransport"]


class RoutedTransport:
    """Chooses by the host's name."""

    def __init__(self, here: str, local: Transport, others: Transport) -> None:
        self._here, self._local, self._others = here, local, others

    def command_of(self, host: str) -> tuple[str, ...] | None:
        """Return what the host's own transport says."""
        return self._way(host).command_of(host)

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Carry by the host's own transport."""
        return self._way(host).carry(host, verb, document, timeout_s)

    def carry_many(
        self, verb: str, documents: Mapping[str, bytes], timeout_s: float, *, together: bool
    ) -> dict[str, Reply | ChaosGpuError]:
        """Carry by both at the same time."""
        others = {host: document for host, document in documents.items() if host != self._here}
        here = {host: document for host, document in documents.items() if host == self._here}
        if not here or not others:  # in our own thread, where an interruption of the run arrives
            return carry_many(self._local if here else self._others, verb, documents, timeout_s, together=together)
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(carry_many, self._local, verb, here, timeout_s)
            return carry_many(self._others, verb, others, timeout_s, together=together) | ours.result()

    def clocks(self, hosts: Sequence[str], timeout_s: float) -> dict[str, Clock | ChaosGpuError]:
        """Compare the others' clocks with ours; this host's is ours."""
        others = [host for host in hosts if host != self._here]
        found = clocks(self._others, others, timeout_s) if others else {}
        return found | {host: Clock(0.0, 0.0) for host in hosts if host == self._here}

    def _way(self, host: str) -> Transport:
        return self._local if host == self._here else self._others
