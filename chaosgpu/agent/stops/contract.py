# SPDX-License-Identifier: Apache-2.0
"""What one stop condition is: its name, its parameters, and how it looks. What it cannot read, it raises."""

from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["GPU", "Begin", "Condition", "Look", "Looks", "Parameter", "Unread"]


class Unread(AgentError):
    """A reading that a stop condition needs cannot be had; that counts as a stop."""

    kind = "refused"


@dataclass(frozen=True)
class Look:
    """One look: whether the condition is met (None: nobody knows), and the reading as a sentence's part."""

    met: Optional[bool]
    reading: str


@dataclass(frozen=True)
class Parameter:
    """One parameter: `kind` is "number", "whole", "text" or "wholes"; `about` says what it is, with its unit."""

    name: str
    kind: str
    about: str
    minimum: float = 0.0
    maximum: float = 0.0
    required: bool = True
    default: JsonValue = None
    choices: Tuple[str, ...] = ()


GPU = Parameter("gpu", "text", "UUID or PCI bus id; every GPU of the host without it", required=False)

Looks = Callable[[JsonMapping, JsonMapping, Tools], Look]
Begin = Callable[[JsonMapping, Tools], JsonObject]


def _nothing(_: JsonMapping, __: Tools) -> JsonObject:
    return {}


@dataclass(frozen=True)
class Condition:
    """One condition. `begin` reads what later looks compare with, such as a counter, when the fault is asked for.

    `look(params, begun, tools)` raises any AgentError, Unread for its own, where it cannot know.
    """

    name: str
    about: str
    parameters: Tuple[Parameter, ...]
    look: Looks
    begin: Begin = _nothing
