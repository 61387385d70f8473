# SPDX-License-Identifier: Apache-2.0
"""Stop conditions as JSON, checked by value: {"any": [...]}, {"all": [...]}, or {"NAME": {parameters}}.

Pure: it reads nothing of the host. The controller checks with it what it is about to send.
"""

from typing import Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.stops.contract import Parameter
from chaosgpu.agent.stops.registry import CONDITIONS
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["JOINS", "Known", "checked", "leaves", "mistake_in"]

JOINS = ("any", "all")
_MOST_CONDITIONS = 32
_DEEPEST = 8
_LONGEST_TEXT = 4096
_MOST_WHOLES = 64


class Known(Protocol):
    """A condition as far as its parameters go."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def parameters(self) -> Tuple[Parameter, ...]:
        """Its parameters in their order."""


def mistake_in(tree: JsonValue, known: Mapping[str, Known] = CONDITIONS) -> Optional[str]:
    """Return what is wrong with the tree as a sentence; None where nothing is."""
    try:
        checked(tree, known)
    except BadRequest as error:
        return str(error)
    return None


def checked(tree: JsonValue, known: Mapping[str, Known] = CONDITIONS) -> JsonObject:
    """Return the tree with every parameter filled in; BadRequest with one sentence for what is wrong with it."""
    whole = _node(tree, known, 1)
    count = len(list(leaves(whole)))
    if count > _MOST_CONDITIONS:
        raise BadRequest(f"stop_when has {count} conditions; at most {_MOST_CONDITIONS} are watched.")
    return whole


def leaves(tree: JsonObject) -> Iterator[Tuple[str, JsonObject]]:
    """Yield name and parameters of each condition of a checked tree, in its order."""
    [(name, inside)] = tree.items()
    if isinstance(inside, list):
        for part in inside:
            yield from leaves(values.mapping({name: part}, name))
    else:
        yield name, values.mapping(tree, name)


def _node(node: JsonValue, known: Mapping[str, Known], depth: int) -> JsonObject:
    if not isinstance(node, dict) or len(node) != 1:
        raise BadRequest(
            'A part of stop_when must be {"any": [...]}, {"all": [...]} or one condition with its parameters, such as '
            f'{{"file_exists": {{"path": "/run/stop"}}}}, not {node!r}.'
        )
    [(name, inside)] = node.items()
    if name in JOINS:
        if not isinstance(inside, list) or not inside:
            raise BadRequest(f"{name} in stop_when must be a list with at least one condition, not {inside!r}.")
        if depth >= _DEEPEST:
            raise BadRequest(f"stop_when is nested deeper than {_DEEPEST} times.")
        return {name: [_node(part, known, depth + 1) for part in inside]}
    if name not in known:
        raise BadRequest(f"There is no stop condition {name!r}; there are: {', '.join(sorted(known))}.")
    if not isinstance(inside, dict):
        raise BadRequest(f"The parameters of {name} in stop_when must be an object, not {inside!r}.")
    return {name: _parameters(known[name], inside)}


def _parameters(condition: Known, given: JsonMapping) -> JsonObject:
    values.only(given, condition.name, frozenset(parameter.name for parameter in condition.parameters))
    found: JsonObject = {}
    for parameter in condition.parameters:
        if given.get(parameter.name) is None and not parameter.required:
            found[parameter.name] = parameter.default
            continue
        try:
            found[parameter.name] = _READ[parameter.kind](given, parameter)
        except BadRequest as error:
            raise BadRequest(f"{condition.name} in stop_when: {error}") from error
    return found


def _number(given: JsonMapping, parameter: Parameter) -> JsonValue:
    return values.number(given, parameter.name, parameter.minimum, parameter.maximum)


def _whole(given: JsonMapping, parameter: Parameter) -> JsonValue:
    return values.whole(given, parameter.name, int(parameter.minimum), int(parameter.maximum))


def _text(given: JsonMapping, parameter: Parameter) -> JsonValue:
    found = values.text(given, parameter.name)
    if len(found) > _LONGEST_TEXT:
        raise BadRequest(f"{parameter.name} is longer than {_LONGEST_TEXT} characters.")
    if parameter.choices and found not in parameter.choices:
        raise BadRequest(f"{parameter.name} must be one of {', '.join(parameter.choices)}, not {found!r}.")
    return found


def _wholes(given: JsonMapping, parameter: Parameter) -> JsonValue:
    name = parameter.name
    found = given.get(name)
    if not isinstance(found, list) or len(found) > _MOST_WHOLES:
        raise BadRequest(f"{name} must be a list of at most {_MOST_WHOLES} whole numbers, not {found!r}.")
    numbers: List[JsonValue] = [_whole({name: one}, parameter) for one in found]
    return numbers


_READ: Dict[str, Callable[[JsonMapping, Parameter], JsonValue]] = {
    "number": _number,
    "whole": _whole,
    "text": _text,
    "wholes": _wholes,
}
