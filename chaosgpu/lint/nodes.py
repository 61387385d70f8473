# SPDX-License-Identifier: Apache-2.0
"""Walk the nodes of a YAML document: the line of every value, how it was written, and keys that are there twice."""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

__all__ = ["Duplicate", "Scalar", "Unwalkable", "duplicates", "escape", "positions"]

# A guard against aliases that multiply (ten lines can stand for billions of values); experiments have hundreds.
MAX_VALUES = 100_000


class Unwalkable(Exception):
    """The document refers to itself or is beyond all bounds."""


@dataclass(frozen=True)
class Scalar:
    """One value as it stands in the file. `plain` means without quotes; `tag` is the type that YAML 1.1 gave it."""

    pointer: str
    line: int
    text: str
    tag: str
    plain: bool
    is_key: bool


@dataclass(frozen=True)
class Duplicate:
    """A key that its object already has."""

    pointer: str
    line: int
    key: str
    first_line: int


def escape(key: str) -> str:
    """Return the key as one step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def positions(root: yaml.Node) -> Iterator[tuple[str, int, Scalar | None]]:
    """Yield pointer, line and, for a scalar, how it was written. Parents come before children."""
    count = 0
    stack: list[tuple[str, int, yaml.Node, frozenset[int]]] = [("", root.start_mark.line + 1, root, frozenset())]
    while stack:
        pointer, line, node, above = stack.pop()
        count += 1
        if count > MAX_VALUES:
            raise Unwalkable(f"it stands for more than {MAX_VALUES} values, so its aliases multiply")
        if id(node) in above:
            raise Unwalkable(f"the value at line {line} contains itself")
        yield pointer, line, _scalar(node, pointer, line, is_key=False)
        inside = above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            for key, value in reversed(node.value):
                step = f"{pointer}/{escape(_key_text(key))}"
                line_of_key = key.start_mark.line + 1
                stack.append((step, line_of_key, value, inside))
                yield step, line_of_key, _scalar(key, step, line_of_key, is_key=True)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in reversed(list(enumerate(node.value))):
                stack.append((f"{pointer}/{index}", item.start_mark.line + 1, item, inside))


def duplicates(root: yaml.Node) -> Iterator[Duplicate]:
    """Yield keys that occur twice in one object, as they were written (before `<<` is merged)."""
    seen: set[int] = set()
    stack: list[tuple[str, yaml.Node]] = [("", root)]
    while stack:
        pointer, node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                text, line = _key_text(key), key.start_mark.line + 1
                step = f"{pointer}/{escape(text)}"
                if text in first and key.tag != "tag:yaml.org,2002:merge":
                    yield Duplicate(step, line, text, first[text])
                first.setdefault(text, line)
                stack.append((step, value))
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((f"{pointer}/{index}", item) for index, item in enumerate(node.value))


def _scalar(node: yaml.Node, pointer: str, line: int, *, is_key: bool) -> Scalar | None:
    if not isinstance(node, yaml.ScalarNode):
        return None
    return Scalar(pointer, line, str(node.value), str(node.tag), node.style is None, is_key)


def _key_text(key: yaml.Node) -> str:
    return str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
