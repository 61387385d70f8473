# SPDX-License-Identifier: Apache-2.0
"""Take secrets out of whatever is written: files, the terminal, and sentences that quote a host's answer."""

import base64
import json
import re
from collections.abc import Iterable
from threading import Lock
from urllib.parse import quote, quote_plus

from chaosgpu.fleet.spellings import more_spellings
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["MASK", "Redactor", "forget", "forms", "know", "redact", "redact_text"]

MASK = "[redacted]"
# A shorter value is no secret that we can find inside other text without tearing the record to pieces:
# it is only removed where it is the whole value.
_SHORTEST_INSIDE_TEXT = 4
# What a foreign program may print about its own credentials.
_LABELLED = re.compile(
    r"(?i)\b(authorization|password|passwd|secret|token|api[_-]?key)(\s*[=:]\s*)(bearer\s+|basic\s+)?\S+"
)
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@")


class Redactor:
    """Replaces known secret values, in every form in which they travel, by MASK."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        whole = {secret for secret in secrets if secret}
        inside = {form for secret in whole if len(secret) >= _SHORTEST_INSIDE_TEXT for form in forms(secret)}
        self._whole = frozenset(whole)
        # Longest first, so that a secret which contains another leaves nothing of itself.
        ordered = sorted(inside, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, source: str) -> str:
        """Return the text without any known secret."""
        if source in self._whole:
            return MASK
        return self._pattern.sub(MASK, source) if self._pattern else source

    def value(self, source: JsonValue) -> JsonValue:
        """Return the JSON value without any known secret; keys and numbers are looked at as well."""
        if isinstance(source, str):
            return self.text(source)
        if isinstance(source, dict):
            return {self.text(key): self.value(item) for key, item in source.items()}
        if isinstance(source, list):
            return [self.value(item) for item in source]
        if isinstance(source, (int, float)) and not isinstance(source, bool) and str(source) in self._whole:
            return MASK
        return source

    def object(self, source: JsonObject) -> JsonObject:
        """Return the JSON object without any known secret."""
        return {self.text(key): self.value(item) for key, item in source.items()}


def forms(secret: str) -> frozenset[str]:
    """Spell a secret as it may appear: plain, URL-quoted, hex, base64 at each offset, in a JSON string, and more."""
    raw = secret.encode()
    found = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), raw.hex(), raw.hex().upper()}
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        found |= {once, json.dumps(once, ensure_ascii=True)[1:-1], json.dumps(once, ensure_ascii=False)[1:-1]}
    for padding in range(3):
        # Inside a longer text ("user:secret") base64 falls on one of three offsets: keep the digits that only
        # the secret decides.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            digits = encode(b"\0" * padding + raw).decode().rstrip("=")
            first = -(-padding * 8 // 6)
            last = (padding + len(raw)) * 8 // 6
            found.add(digits[first:last])
    found |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return frozenset(form for form in {*found, *more_spellings(secret)} if len(form) >= _SHORTEST_INSIDE_TEXT)


class _Known:
    """The secrets that this process has been told about."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._secrets: frozenset[str] = frozenset()
        self.redactor = Redactor()

    def add(self, secrets: Iterable[str]) -> None:
        with self._lock:
            self._secrets |= frozenset(secrets)
            self.redactor = Redactor(self._secrets)

    def clear(self) -> None:
        with self._lock:
            self._secrets = frozenset()
            self.redactor = Redactor()


_KNOWN = _Known()


def know(secrets: Iterable[str]) -> None:
    """Tell this process what must never be written."""
    _KNOWN.add(secrets)


def forget() -> None:
    """Drop what `know` was told; for the end of a run."""
    _KNOWN.clear()


def redact(source: JsonObject) -> JsonObject:
    """Return the object without the secrets that this process knows."""
    return _KNOWN.redactor.object(source)


def redact_text(source: str) -> str:
    """Return text without known secrets, nor what is labelled as one, nor passwords in URLs."""
    known = _KNOWN.redactor.text(source)
    labelled = _LABELLED.sub(lambda found: f"{found[1]}{found[2]}{MASK}", known)
    return _USERINFO.sub(lambda found: f"{found[1]}{MASK}@", labelled)
