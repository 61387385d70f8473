# SPDX-License-Identifier: Apache-2.0
"""What `${name}` stands for, as far as the file alone says it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chaoslib import convert_to_type, substitute

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import mapping

__all__ = ["Names", "names_of", "references"]

_REFERENCE = re.compile(r"(?<!\$)\$\{([^}]*)\}")


@dataclass(frozen=True)
class Names:
    """The names that are declared, and the values of those that the file itself gives."""

    declared: frozenset[str]
    known: Mapping[str, object]

    def resolve(self, value: object) -> tuple[bool, object]:
        """Return whether everything in the value is known, and the value as the function will get it."""
        if isinstance(value, str):
            names = set(references(value))
            if not names <= set(self.known):
                return False, value
            if not names:
                return True, value
            filled: object = substitute(value, dict(self.known), {})  # type: ignore[arg-type]  # typed too narrowly there
            return True, filled
        if isinstance(value, list):
            items = [self.resolve(item) for item in value]
            return all(known for known, _ in items), [item for _, item in items]
        if isinstance(value, dict):
            pairs = {key: self.resolve(item) for key, item in value.items()}
            return all(known for known, _ in pairs.values()), {key: item for key, (_, item) in pairs.items()}
        return True, value


def references(text: str) -> list[str]:
    """Return the names in `${name}` of a text (`$${name}` is a literal)."""
    return _REFERENCE.findall(text)


def names_of(document: Document) -> Names:
    """Collect what configuration and secrets declare. Secrets and bare environment variables have no known value."""
    configuration = mapping(document.data.get("configuration"))
    declared = {str(key) for key in configuration}
    for scope in mapping(document.data.get("secrets")).values():
        declared.update(str(key) for key in mapping(scope))
    known: dict[str, object] = {}
    for key, declaration in configuration.items():
        source = mapping(declaration)
        if "type" not in source:
            known[str(key)] = declaration
        elif source.get("type") == "env" and "default" in source:
            converted, value = _converted(source.get("env_var_type"), source["default"])
            if converted:
                known[str(key)] = value
    return Names(frozenset(declared), known)


def _converted(kind: object, default: object) -> tuple[bool, object]:
    """Convert a default as Chaos Toolkit does; it takes any value for its text, whatever its annotation says."""
    if kind is None:
        return True, default
    try:
        return True, convert_to_type(str(kind), str(default) if kind != "json" else default)  # type: ignore[arg-type]
    except ValueError:
        return False, default
