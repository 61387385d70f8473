# SPDX-License-Identifier: Apache-2.0
"""Secrets that stand in the file, and so in the journal, the log and the version control."""

import re
from collections.abc import Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.experiment import activities, controls, mapping, strings
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.nodes import escape

__all__ = ["check_secrets"]

_RULE = "inline-secret"
_NAME = re.compile(r"(^|[_-])(password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key)$", re.IGNORECASE)
_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@$]+:[^/\s@$]+@", re.IGNORECASE)
_SOURCES = frozenset({"env", "vault"})
_ADVICE = "Declare it under secrets with type: env (or vault) and take it from there."


def check_secrets(document: Document) -> Iterator[Finding]:
    """Report literal secrets. The sentence never repeats the value."""
    for scope, entries in mapping(document.data.get("secrets")).items():
        yield from _literals(document, f"/secrets/{escape(str(scope))}", entries)
    for key, value in mapping(document.data.get("configuration")).items():
        literal = value if isinstance(value, str) else mapping(value).get("default")
        if _NAME.search(str(key)) and isinstance(literal, str) and literal:
            yield _found(document, f"/configuration/{escape(str(key))}", f"The configuration {key!r} holds a secret.")
    places = [(f"{one.pointer}/provider", one.provider) for one in activities(document)]
    places += [(f"{one.pointer}/provider", one.provider) for one in controls(document)]
    for pointer, provider in places:
        for part in ("arguments", "headers", "url"):
            for place, text in strings(provider.get(part), f"{pointer}/{part}"):
                name = place.rpartition("/")[2]
                if _IN_URL.search(text):
                    yield _found(document, place, "The URL holds a user name and a password.")
                elif text and "${" not in text and (_NAME.search(name) or name.lower() == "authorization"):
                    yield _found(document, place, f"{name!r} holds a secret as it is.")
    dynamic = [key for key, value in mapping(document.data.get("configuration")).items() if _is_probe(value)]
    if dynamic and document.data.get("secrets"):
        message = (
            f"The configuration probe {dynamic[0]!r} makes Chaos Toolkit write every resolved secret into the journal."
        )
        advice = "Move what the probe does into the method, or keep secrets out of this experiment."
        yield document.finding("error", _RULE, f"/configuration/{escape(str(dynamic[0]))}", message, advice)


def _literals(document: Document, pointer: str, value: object) -> Iterator[Finding]:
    if isinstance(value, dict):
        if str(value.get("type")) not in _SOURCES:
            for key, item in value.items():
                yield from _literals(document, f"{pointer}/{escape(str(key))}", item)
    elif value is not None and value != "":
        yield _found(document, pointer, f"The secret {pointer.rpartition('/')[2]!r} stands in the file as it is.")


def _found(document: Document, pointer: str, message: str) -> Finding:
    return document.finding("error", _RULE, pointer, f"{message} It ends up in the journal and the log.", _ADVICE)


def _is_probe(value: object) -> bool:
    return mapping(value).get("type") == "probe"
