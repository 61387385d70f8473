# SPDX-License-Identifier: Apache-2.0
"""Extra variables as a file that only we can read: on no command line, in no list of processes."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonValue

__all__ = ["Template", "write_variables"]


class Template(str):
    """A text that Ansible is to fill in. Every other text of ours is taken as it is: it may quote what a host said."""

    __slots__ = ()


def write_variables(path: Path, variables: Mapping[str, JsonValue], *, templates: bool) -> None:
    """Write them for `-e @file`; `templates`: every text is one, as with `-e` of a person's own."""
    written = ", ".join(f"{_text(name)}: {_value(value, templates=templates)}" for name, value in variables.items())
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as stream:
        stream.write(f"{{{written}}}\n")


def _value(value: object, *, templates: bool) -> str:
    """Write a value as YAML, which has a mark for a text that is no template; JSON has none."""
    if isinstance(value, dict):
        items = (f"{_text(key)}: {_value(item, templates=templates)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item, templates=templates) for item in value)}]"
    if isinstance(value, str):
        return _text(value) if templates or isinstance(value, Template) else f"!unsafe {_text(value)}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and math.isfinite(value):
        return repr(value)
    raise BadArgument(f"A variable of a playbook must be JSON, not {value!r}.")


def _text(text: object) -> str:
    """Write a text in quotes, all but plain letters by their number: YAML reads that in any locale."""
    return f'"{"".join(_letter(letter) for letter in str(text))}"'


def _letter(letter: str) -> str:
    number = ord(letter)
    if " " <= letter <= "~" and letter not in '"\\':
        return letter
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 (what four digits hold)
