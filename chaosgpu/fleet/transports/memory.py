# SPDX-License-Identifier: Apache-2.0
"""A transport without a process: the agent is a function. For tests, ours and those of packs that build on us."""

import json
from collections.abc import Callable

from chaosgpu.fleet.transports import Reply
from chaosgpu.fleet.values import JsonObject

__all__ = ["MemoryTransport"]

type Answer = Callable[[str, JsonObject], JsonObject]


class MemoryTransport:
    """Hands each request to `answer` and keeps what was asked in `asked`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.asked: list[tuple[str, JsonObject]] = []

    def command_of(self, host: str) -> tuple[str, ...] | None:  # noqa: ARG002 (the seam)
        """Return None: a function cannot be reached from another process."""
        return None

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:  # noqa: ARG002 (the seam)
        """Answer as a process would: one document, and exit status 1 beside an error."""
        request: JsonObject = json.loads(document)
        self.asked.append((verb, request))
        answer = self._answer(verb, request)
        return Reply(1 if "error" in answer else 0, json.dumps(answer).encode(), b"")
