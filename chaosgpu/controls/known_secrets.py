# SPDX-License-Identifier: Apache-2.0
"""Find the secret values of an experiment, and keep them out of Chaos Toolkit's own log and terminal lines."""

import logging
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from chaosgpu.fleet.redaction import redact_text

__all__ = ["LogRedaction", "secret_values"]

# A value of the configuration is a secret by its name; an address or a model's name is not.
_SECRET_NAME = re.compile(r"(?i)pass(word|wd|phrase)?$|secret|token|credential|api_?key|private_?key|auth")


def secret_values(configuration: Mapping[str, object] | None, secrets: Mapping[str, object] | None) -> frozenset[str]:
    """Collect everything under `secrets`, what the configuration names as a secret, and passwords inside URLs."""
    found = set(_leaves(secrets or {}))
    for key, value in (configuration or {}).items():
        for leaf in _leaves(value):
            if _SECRET_NAME.search(key):
                found.add(leaf)
            found |= _passwords(leaf)
    return frozenset(found)


def _leaves(value: object) -> Iterator[str]:
    """Yield every text and number inside a value; the keys that say where a secret comes from are no secrets."""
    if isinstance(value, Mapping):
        if value.get("type") in ("env", "vault", "probe"):
            return
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value):
        yield str(value)


def _passwords(value: str) -> set[str]:
    """Return the password inside a URL, if there is one."""
    try:
        password = urlsplit(value).password
    except ValueError:
        return set()
    return {password} if password else set()


class LogRedaction(logging.Filter):
    """Takes known secrets out of each line before it reaches the terminal or the log file."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the line; it is always let through."""
        said = record.getMessage()
        clean = redact_text(said)
        if clean != said:
            record.msg, record.args = clean, None
        if record.exc_info:
            # The traceback may quote anything: write it now, cleaned, and let nobody write it again.
            record.exc_text = redact_text(logging.Formatter().formatException(record.exc_info))
        return True
