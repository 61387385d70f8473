# SPDX-License-Identifier: Apache-2.0
"""One good order for each fault of a unit, and how it is seen from outside on the real Triton unit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["CASES", "Case", "Seen"]


@dataclass(frozen=True)
class Seen:
    """What a look from outside finds, through no agent."""

    listens: bool  # a TCP connection to the server's port is taken
    answers: bool  # the model answers in time
    opens: bool  # a process in the unit can open the GPU's node
    on_gpu: bool  # the driver shows one of its processes


@dataclass(frozen=True)
class Case:
    """The fault's own parameters, and whether it is seen to be in force."""

    fault: str
    params: dict[str, Any]
    in_force: Callable[[Seen], bool]


CASES = (
    Case("unit.stop", {}, lambda seen: not seen.listens and not seen.on_gpu),
    # Triton has Restart=on-failure: what is seen of the crash is another process, see the tests.
    Case("unit.kill", {"signal": "TERM"}, lambda seen: not seen.listens and not seen.on_gpu),
    Case("unit.freeze", {}, lambda seen: seen.listens and not seen.answers),
    Case("unit.gpu.deny", {}, lambda seen: seen.on_gpu and not seen.opens),
    Case("unit.gpu.hide", {}, lambda seen: not seen.answers and not seen.on_gpu),
)
