# SPDX-License-Identifier: Apache-2.0
"""One file a transport: each carries one JSON document to the agent and one back."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chaosgpu.errors import ChaosGpuError

__all__ = ["ManyTransport", "Reply", "Transport", "carry_many"]

_AT_ONCE = 32


@dataclass(frozen=True)
class Reply:
    """What came back from the agent: its exit status (negative: the signal that ended it) and both streams."""

    status: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """A way to an agent."""

    def command_of(self, host: str) -> tuple[str, ...] | None:
        """Return the command that, with a verb behind it, reaches the agent from any process; None if none does."""

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Hand one document to the agent's verb and wait for the answer; raise Unreachable if none can come."""


@runtime_checkable
class ManyTransport(Transport, Protocol):
    """A way to many agents at once."""

    def carry_many(
        self, verb: str, documents: Mapping[str, bytes], timeout_s: float
    ) -> dict[str, Reply | ChaosGpuError]:
        """Hand each host its document and return each one's answer, or the error that says why there is none."""


def carry_many(
    transport: Transport, verb: str, documents: Mapping[str, bytes], timeout_s: float
) -> dict[str, Reply | ChaosGpuError]:
    """Carry to several hosts at once through any transport; no host keeps another waiting."""
    if isinstance(transport, ManyTransport):
        return transport.carry_many(verb, documents, timeout_s)
    return at_once(documents, lambda host: transport.carry(host, verb, documents[host], timeout_s))


def at_once[T](hosts: Mapping[str, object], one: Callable[[str], T]) -> dict[str, T | ChaosGpuError]:
    """Do one thing for each host, in threads; one of our errors is a result."""

    def tried(host: str) -> T | ChaosGpuError:
        try:
            return one(host)
        except ChaosGpuError as error:
            return error

    if len(hosts) == 1:  # in our own thread, where an interruption of the run arrives
        return {host: tried(host) for host in hosts}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(hosts, pool.map(tried, hosts), strict=True))
