# SPDX-License-Identifier: Apache-2.0
"""Take known secrets, and what looks like one, out of what is exported: the second net behind the one while writing."""

import re
from collections.abc import Iterable

from chaosgpu.fleet.redaction import MASK, Redactor, forms, redact_text
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["Scrubber"]

# What is only found by reading on over line ends must be longer, or it finds words that were never together.
_SHORTEST_APART = 8
# Real line ends, and those that JSON and shells write as two characters.
_APART = re.compile(r"(?:\s|\\[nrt]|\\\r?\n|=\r?\n)+")
# What is a secret whoever it belongs to.
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bey[A-Za-z0-9_-]{15,}\.ey[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]+|\$ANSIBLE_VAULT;[^\n]*(?:\n[0-9a-f]{16,})*",
    re.DOTALL,
)


class Scrubber:
    """Knows secrets in every spelling; `hits` counts what it has taken out."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if secret}
        self._exact = Redactor(known)
        spelled = sorted({form for secret in known for form in forms(secret)}, key=len, reverse=True)
        self._forms = [form.casefold() for form in spelled]
        self._apart = list(dict.fromkeys(_APART.sub("", form) for form in self._forms if len(form) >= _SHORTEST_APART))
        self.hits = 0

    def text(self, source: str) -> str:
        """Return text without secrets."""
        clean = self._exact.text(source)
        clean = self._without(clean, self._forms)
        clean = self._without_apart(clean)
        clean = _SHAPES.sub(MASK, redact_text(clean))
        self.hits += clean != source
        return clean

    def value(self, source: JsonValue) -> JsonValue:
        """Return a JSON value without secrets; keys and numbers are looked at as well."""
        if isinstance(source, str):
            return self.text(source)
        if isinstance(source, dict):
            return self.object(source)
        if isinstance(source, list):
            return [self.value(item) for item in source]
        clean = self._exact.value(source)
        self.hits += clean != source
        return clean

    def object(self, source: JsonObject) -> JsonObject:
        """Return a JSON object without secrets."""
        return {self.text(key): self.value(item) for key, item in source.items()}

    def finds(self, source: str) -> bool:
        """Tell whether a known secret is in a text: the last look at what is about to leave."""
        folded = source.casefold()
        return any(form in folded for form in self._forms) or self._without_apart(source) != source

    @staticmethod
    def _without(source: str, forms: Iterable[str]) -> str:
        """Take each form out, whatever the case of its letters."""
        folded = source.casefold()
        if len(folded) != len(source):  # a letter whose small form is longer: places would not agree
            folded = source.lower() if len(source.lower()) == len(source) else source
        for form in forms:
            while (place := folded.find(form)) >= 0:
                source = source[:place] + MASK + source[place + len(form) :]
                folded = folded[:place] + MASK + folded[place + len(form) :]
        return source

    def _without_apart(self, source: str) -> str:
        """Take out what is a secret once line ends and spaces are left out."""
        if not self._apart or not _APART.search(source):
            return source
        kept: list[int] = []
        last = 0
        for gap in _APART.finditer(source):
            kept.extend(range(last, gap.start()))
            last = gap.end()
        kept.extend(range(last, len(source)))
        joined = "".join(source[place] for place in kept)
        folded = joined.casefold()
        if len(folded) != len(joined):
            folded = joined
        spans = []
        for form in self._apart:
            place = folded.find(form)
            while place >= 0:
                spans.append((kept[place], kept[place + len(form) - 1] + 1))
                place = folded.find(form, place + len(form))
        return _masked(source, spans)


def _masked(source: str, spans: Iterable[tuple[int, int]]) -> str:
    """Put the mask in place of each span; spans that overlap become one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    for start, end in reversed(merged):
        source = source[:start] + MASK + source[end:]
    return source
