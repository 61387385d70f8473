# SPDX-License-Identifier: Apache-2.0
"""This host through one transport, every other host through another."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.transports import Reply, Transport, carry_many

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
        self, verb: str, documents: Mapping[str, bytes], timeout_s: float
    ) -> dict[str, Reply | ChaosGpuError]:
        """Carry by both at the same time."""
        others = {host: document for host, document in documents.items() if host != self._here}
        if len(others) == len(documents):
            return carry_many(self._others, verb, others, timeout_s)
        here = {self._here: documents[self._here]}
        if not others:
            return carry_many(self._local, verb, here, timeout_s)
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(carry_many, self._local, verb, here, timeout_s)
            return carry_many(self._others, verb, others, timeout_s) | ours.result()

    def _way(self, host: str) -> Transport:
        return self._local if host == self._here else self._others
