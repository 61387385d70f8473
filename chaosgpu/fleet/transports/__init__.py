# SPDX-License-Identifier: Apache-2.0
"""One file a transport: each carries one JSON document to the agent and one back."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chaosgpu.errors import ChaosGpuError, Unreachable

__all__ = ["Clock", "ManyTransport", "Reply", "TellsClocks", "Transport", "carry_many", "clocks"]

_AT_ONCE = 32


@dataclass(frozen=True)
class Reply:
    """What came back from the agent: its exit status (negative: the signal that ended it) and both streams."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Clock:
    """How far a host's clock is ahead of ours, and by how much that may be wrong either way."""

    ahead_s: float
    error_s: float


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
        self, verb: str, documents: Mapping[str, bytes], timeout_s: float, *, together: bool
    ) -> dict[str, Reply | ChaosGpuError]:
        """Hand each host its document and return each one's answer, or the error that says why there is none.

        `together`: no host is left waiting until another has answered.
        """


@runtime_checkable
class TellsClocks(Protocol):
    """A way to hosts whose clocks can be compared with ours."""

    def clocks(self, hosts: Sequence[str], timeout_s: float) -> dict[str, Clock | ChaosGpuError]:
        """Compare the clock of each host with ours."""


def carry_many(
    transport: Transport, verb: str, documents: Mapping[str, bytes], timeout_s: float, *, together: bool = False
) -> dict[str, Reply | ChaosGpuError]:
    """Carry to several hosts at once through any transport; no host keeps another waiting."""
    if isinstance(transport, ManyTransport):
        return transport.carry_many(verb, documents, timeout_s, together=together)
    return at_once(documents, lambda host: transport.carry(host, verb, documents[host], timeout_s))


def clocks(transport: Transport, hosts: Sequence[str], timeout_s: float) -> dict[str, Clock | ChaosGpuError]:
    """Compare clocks through any transport; one that cannot tell leaves them unknown."""
    if isinstance(transport, TellsClocks):
        return transport.clocks(hosts, timeout_s)
    return {host: Unreachable(f"the clock of {host} cannot be read on the way that reaches it") for host in hosts}


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
