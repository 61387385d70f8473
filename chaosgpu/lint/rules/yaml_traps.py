# SPDX-License-Identifier: Apache-2.0
"""Values that YAML 1.1 reads as something else than they look, and keys that are there twice."""

import re
from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.finding import Finding, Level
from chaosgpu.lint.nodes import Scalar

__all__ = ["check_duplicate_keys", "check_yaml_traps"]

_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")


def check_duplicate_keys(document: Document) -> Iterator[Finding]:
    """Report keys that an object has twice: the last one wins and the first is gone."""
    for twice in document.duplicates:
        message = f"The key {twice.key!r} is there twice (first at line {twice.first_line}): only the last one counts."
        yield Finding("error", "duplicate-key", twice.pointer, twice.line, message, "Keep one of them.")


def check_yaml_traps(document: Document) -> Iterator[Finding]:
    """Report plain words that become truth values, numbers, dates or texts against their looks."""
    if document.is_json:
        return
    for scalar in document.scalars:
        if scalar.plain:
            trap = _trap(scalar)
            if trap:
                level: Level = "error" if scalar.is_key or "looks" in trap else "warning"
                what = "The key" if scalar.is_key else "The value"
                message = f"{what} {scalar.text} is {trap}"
                advice = f"Write '{scalar.text}' in quotes if it is a text" + _otherwise(scalar) + "."
                yield Finding(level, "yaml-trap", scalar.pointer, scalar.line, message, advice)


def _trap(scalar: Scalar) -> str | None:
    tag, text = scalar.tag.removeprefix(_TAG), scalar.text
    if tag == "bool" and text.lower() not in {"true", "false"}:
        return f"{'true' if text.lower() in {'yes', 'on'} else 'false'} in YAML 1.1, not a text."
    if tag in {"int", "float"} and ":" in text:
        return "a number to base 60 in YAML 1.1, though it looks like a time of day."
    if tag == "int" and _OCTAL.fullmatch(text):
        return "an octal number in YAML 1.1, though it looks like a decimal one."
    if tag == "timestamp":
        return "a date in YAML 1.1, not a text."
    if tag == "str" and _EXPONENT.fullmatch(text):
        return "a text in YAML 1.1, though it looks like a number (YAML wants 1.0e+3)."
    if scalar.is_key and tag in {"bool", "int", "float", "null"}:
        return "not a text, so Chaos Toolkit looks for another key."
    return None


def _otherwise(scalar: Scalar) -> str:
    return ", or true or false" if scalar.tag == f"{_TAG}bool" else ""
