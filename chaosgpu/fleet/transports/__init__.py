# SPDX-License-Identifier: Apache-2.0
"""One file a transport: each carries one JSON document to the agent and one back."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from chaosgpu.errors import ChaosGpuError, Unreachable

__all__ = [
    "Agree",
    "Clock",
    "Clocks",
    "Errand",
    "Errands",
    "EveryoneTransport",
    "ManyTransport",
    "Replies",
    "Reply",
    "TellsClocks",
    "TogetherTransport",
    "Transport",
    "carry_many",
    "carry_together",
]

_AT_ONCE = 32


@dataclass(frozen=True)
class Reply:
    """What came back from the agent: its exit status (negative: the signal that ended it) and both streams."""

    status: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Errand:
    """One verb for the agent of a host, its document, and how long it may take."""

    verb: str
    document: bytes
    timeout_s: float


type Errands = Mapping[str, Sequence[Errand]]
# In the order of a host's errands.
type Replies = dict[str, list[Reply | ChaosGpuError]]


@dataclass(frozen=True)
class Clock:
    """How far a host's clock is ahead of ours, and by how much that may be wrong either way."""

    ahead_s: float
    error_s: float


type Clocks = Mapping[str, Clock | ChaosGpuError]


class Transport(Protocol):
    """A way to an agent."""

    def command_of(self, host: str) -> tuple[str, ...] | None:
        """Return the command that, with a verb behind it, reaches the agent from any process; None if none does."""

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        """Hand one document to the agent's verb and wait for the answer; raise Unreachable if none can come."""


@runtime_checkable
class ManyTransport(Transport, Protocol):
    """A way to many agents at once."""

    def carry_many(self, errands: Errands) -> Replies:
        """Do each host's errands, one after the other there; each has its answer, or the error that says why not."""


# What is asked of each host, once the clocks of all are known.
type Agree = Callable[[Clocks], Errands]


@runtime_checkable
class TellsClocks(Protocol):
    """A way to hosts whose clocks can be compared with ours."""

    def clocks(self, hosts: Sequence[str], timeout_s: float) -> Clocks:
        """Compare the clock of each host with ours."""


@runtime_checkable
class TogetherTransport(Protocol):
    """A way that compares clocks and carries in one round trip."""

    def carry_together(self, hosts: Sequence[str], agree: Agree, timeout_s: float) -> Replies:
        """Compare clocks, and carry what is then agreed; where `agree` raises, nothing is carried."""


@runtime_checkable
class EveryoneTransport(Protocol):
    """A way that reaches every host of an inventory without being told who they are."""

    def carry_everyone(self, errand: Errand) -> dict[str, Reply | ChaosGpuError]:
        """Do one errand on each."""


def carry_many(transport: Transport, errands: Errands) -> Replies:
    """Do errands on several hosts at once through any transport; no host keeps another waiting."""
    if isinstance(transport, ManyTransport):
        return transport.carry_many(errands)

    def one(host: str) -> list[Reply | ChaosGpuError]:
        return [_tried(lambda: transport.carry(host, it.verb, it.document, it.timeout_s)) for it in errands[host]]  # noqa: B023 (called at once)

    if len(errands) == 1:  # in our own thread, where an interruption of the run arrives
        return {host: one(host) for host in errands}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(errands, pool.map(one, errands), strict=True))


def carry_together(transport: Transport, hosts: Sequence[str], agree: Agree, timeout_s: float) -> Replies:
    """Compare clocks through any transport and carry what is then agreed; a way that cannot tell knows none."""
    if isinstance(transport, TogetherTransport):
        return transport.carry_together(hosts, agree, timeout_s)
    if isinstance(transport, TellsClocks):
        return carry_many(transport, agree(transport.clocks(hosts, timeout_s)))
    return carry_many(transport, agree({host: _unknown(host) for host in hosts}))


def _unknown(host: str) -> ChaosGpuError:
    return Unreachable(f"the clock of {host} cannot be read on the way that reaches it")


def _tried(carry: Callable[[], Reply]) -> Reply | ChaosGpuError:
    """Do one errand; one of our errors is a result."""
    try:
        return carry()
    except ChaosGpuError as error:
        return error
