# SPDX-License-Identifier: Apache-2.0
"""What the activity modules declare: read from their `__all__` and their annotations."""

import importlib
import inspect
import json
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Union, get_args, get_origin

import chaosgpu

KINDS = {"actions": "action", "probes": "probe", "tolerances": "probe"}
NAMES: dict[object, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "list",
    dict: "mapping",
    tuple: "tuple",
    None: "null",
}


@dataclass(frozen=True)
class Declared:
    """One function that an experiment may name."""

    module: str
    name: str
    kind: str
    signature: inspect.Signature
    doc: str

    @property
    def arguments(self) -> list[tuple[str, str]]:
        """Name and discovered type of each argument, in order."""
        return [(one.name, discovered_type(one.annotation)) for one in self.signature.parameters.values()]

    def examples(self) -> Iterator[dict[str, object]]:
        """Yield the providers that the docstring shows as JSON, alone or within their activity."""
        decoder = json.JSONDecoder()
        at = self.doc.find("{")
        while at >= 0:
            try:
                value, end = decoder.raw_decode(self.doc[at:])
            except json.JSONDecodeError:
                end = 1
            else:
                if isinstance(value, dict) and "provider" in value:
                    yield {"activity": value.get("type"), **value["provider"]}
                elif isinstance(value, dict) and "module" in value:
                    yield {"activity": self.kind, **value}
            at = self.doc.find("{", at + end)


def discovered_type(annotation: object) -> str:
    """Name the type as Chaos Toolkit should discover it."""
    return NAMES.get(get_origin(annotation) or annotation, "object")


def is_optional(annotation: object) -> bool:
    """Say whether it is a simple type or null: the one honest reason for an argument to be discovered as "object"."""
    inner = get_args(annotation)
    simple = [one for one in inner if one is not type(None)]
    return (
        get_origin(annotation) in {Union, types.UnionType}
        and len(inner) == len(simple) + 1
        and all(discovered_type(one) != "object" for one in simple)
    )


def declared() -> list[Declared]:
    """Return every activity of every activity module that is on the disk."""
    package = Path(chaosgpu.__file__).parent
    found = []
    for path in sorted(package.glob("*/*.py")):
        if path.stem in KINDS:
            module = importlib.import_module(f"chaosgpu.{path.parent.name}.{path.stem}")
            for name in module.__all__:
                function = getattr(module, name)
                signature = inspect.signature(function)
                doc = inspect.getdoc(function) or ""
                found.append(Declared(module.__name__, name, KINDS[path.stem], signature, doc))
    return found
