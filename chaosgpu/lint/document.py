# SPDX-License-Identifier: Apache-2.0
"""An experiment file, read: its data as Chaos Toolkit reads it, and where in the file each value stands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from chaosgpu.errors import BadArgument
from chaosgpu.lint.finding import Finding, Level
from chaosgpu.lint.functions import TRUSTED
from chaosgpu.lint.nodes import Duplicate, Scalar, Unwalkable, duplicates, positions

__all__ = ["Document", "Unreadable", "parse", "read"]

MAX_BYTES = 4 * 1024 * 1024  # far above any experiment; a file named by mistake must not fill the memory


class Unreadable(BadArgument):
    """The file is not there, is not JSON or YAML, or is no experiment at all."""


@dataclass(frozen=True)
class Document:
    """One experiment. `data` is what Chaos Toolkit's own loader would return; `trusted` packages may be imported."""

    data: Mapping[str, object]
    lines: Mapping[str, int]
    scalars: tuple[Scalar, ...]
    duplicates: tuple[Duplicate, ...]
    is_json: bool
    trusted: frozenset[str] = TRUSTED

    def line_of(self, pointer: str) -> int | None:
        """Return the line of the value, or of the nearest one around it (for a value that is missing)."""
        while pointer not in self.lines and pointer:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer)

    def finding(self, level: Level, rule: str, pointer: str, message: str, advice: str) -> Finding:
        """Make a finding at a place of this document."""
        return Finding(level, rule, pointer, self.line_of(pointer), message, advice)


def read(path: Path, trusted: frozenset[str] = TRUSTED) -> Document:
    """Read a .json, .yaml or .yml file; raise Unreadable with a sentence."""
    if path.suffix not in {".json", ".yaml", ".yml"}:
        raise Unreadable(f"{path} was not read: Chaos Toolkit takes files that end in .json, .yaml or .yml only.")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise Unreadable(f"{path} was not read: it is larger than {MAX_BYTES} bytes. Is it an experiment?")
        return parse(raw.decode("utf-8"), name=str(path), is_json=path.suffix == ".json", trusted=trusted)
    except OSError as error:
        raise Unreadable(f"{path} could not be read: {error.strerror}. Check the path and its permissions.") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path} could not be read: byte {error.start} is not UTF-8. Save it as UTF-8.") from error


def parse(text: str, *, name: str = "experiment", is_json: bool = False, trusted: frozenset[str] = TRUSTED) -> Document:
    """Parse the text of one experiment; raise Unreadable with a sentence."""
    try:
        # YAML's parser takes JSON too and knows the lines; only a tab as indentation is beyond it.
        root = yaml.compose(text.replace("\t", " ") if is_json else text, Loader=yaml.SafeLoader)
        if root is None:
            raise Unreadable(f"{name} is empty. Write an experiment: title, description and method at least.")
        twice = tuple(duplicates(root))
        where = tuple(positions(root))
        data: object = json.loads(text) if is_json else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{name} is not JSON: line {error.lineno}: {error.msg}. Correct that line.") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        kind = "JSON" if is_json else "YAML"
        raise Unreadable(f"{name} is not {kind}: {line}{error.problem}. Correct that line.") from error
    except (yaml.YAMLError, Unwalkable, RecursionError, ValueError) as error:
        raise Unreadable(f"{name} could not be parsed: {error}. Write it more simply.") from error
    if not isinstance(data, dict):
        raise Unreadable(
            f"{name} is not an experiment: its outermost value is not an object with a title and a method."
        )
    lines: dict[str, int] = {}
    for pointer, line_number, _ in where:
        lines.setdefault(pointer, line_number)
    scalars = tuple(scalar for _, _, scalar in where if scalar)
    return Document(data, lines, scalars, twice, is_json, trusted)
