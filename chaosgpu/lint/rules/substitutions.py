# SPDX-License-Identifier: Apache-2.0
"""`${name}` that stays as it is: a name that is not declared, or a place where nothing is put in."""

from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import Activity, activities, controls, mapping, strings
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.keys import did_you_mean
from chaosgpu.lint.substitution import names_of, references

__all__ = ["check_substitutions"]

_RULE = "literal-substitution"


def check_substitutions(document: Document) -> Iterator[Finding]:
    """Report references that Chaos Toolkit would hand on literally, without a word."""
    declared = names_of(document).declared
    for activity in activities(document):
        for pointer, text in _filled(activity):
            yield from _undeclared(document, pointer, text, declared)
        for pointer, text in _not_filled(activity):
            if references(text):
                message = f"{text!r} stays as it is: Chaos Toolkit puts no values in at this place."
                yield document.finding("error", _RULE, pointer, message, "Write the value itself.")
    for control in controls(document):
        for pointer, text in strings(control.provider.get("arguments"), f"{control.pointer}/provider/arguments"):
            yield from _undeclared(document, pointer, text, declared)


def _filled(activity: Activity) -> Iterator[tuple[str, str]]:
    provider, pointer = activity.provider, f"{activity.pointer}/provider"
    keys = ["arguments"] + (["url", "headers", "timeout"] if activity.kind == "http" else [])
    for key in keys:
        if not (activity.kind == "process" and isinstance(provider.get(key), str)):  # a shell has its own ${name}
            yield from strings(provider.get(key), f"{pointer}/{key}")
    yield from strings(activity.data.get("pauses"), f"{activity.pointer}/pauses")
    tolerance = activity.data.get("tolerance")
    if isinstance(tolerance, str):
        yield f"{activity.pointer}/tolerance", tolerance
    for key in ("pattern", "path", "expect"):
        yield from strings(mapping(tolerance).get(key), f"{activity.pointer}/tolerance/{key}")


def _not_filled(activity: Activity) -> Iterator[tuple[str, str]]:
    provider, pointer = activity.provider, f"{activity.pointer}/provider"
    keys = ["module", "func", "path"] + (["timeout"] if activity.kind == "process" else [])
    for key in keys:
        yield from strings(provider.get(key), f"{pointer}/{key}")
    tolerance = activity.data.get("tolerance")
    yield from strings(tolerance if isinstance(tolerance, list) else None, f"{activity.pointer}/tolerance")
    yield from strings(mapping(tolerance).get("range"), f"{activity.pointer}/tolerance/range")


def _undeclared(document: Document, pointer: str, text: str, declared: frozenset[str]) -> Iterator[Finding]:
    for name in references(text):
        if name not in declared:
            meant = did_you_mean(name, declared)
            message = f"${{{name}}} stays as it is: neither configuration nor secrets declares {name!r}."
            if "." in name:
                message += " Dotted paths are not followed."
            advice = f"Did you mean {meant!r}?" if meant else f"Declare {name} under configuration."
            yield document.finding("error", _RULE, pointer, message, advice)
