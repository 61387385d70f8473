# SPDX-License-Identifier: Apache-2.0
"""One file a transport: each carries one JSON document to the agent and one back."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Reply", "Transport"]


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
