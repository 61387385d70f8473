# SPDX-License-Identifier: Apache-2.0
"""A number that a service tells of itself, read as the experiment declares it: from its own HTTP port or its log.

Only this host's own addresses are asked, and every answer has a deadline and a largest size.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Optional
from urllib.parse import urlsplit

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.faults.unit_state import UnitState
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.values import JsonMapping, JsonValue

__all__ = ["Reading", "answers", "local_url", "parse_reading"]

_OURSELVES = ("127.0.0.1", "localhost", "::1")
_ANSWERS_WITHIN_S = 3.0
_LARGEST_BYTES = 8 << 20
_CHUNK = 1 << 16
_OK = 200


@dataclass(frozen=True)
class Reading:
    """Where the number is: `url` or the log of the unit's present start; `pattern` or `pointer` finds it there."""

    url: Optional[str]
    pattern: Optional[str]
    pointer: Optional[str]

    def read(self, state: UnitState, systemd: Systemd) -> Optional[float]:
        """Return the number; None while the service does not tell it."""
        if self.url is None:
            invocation = state.text("InvocationID")
            text: Optional[str] = systemd.log_of(invocation) if invocation else None
        else:
            text = _get(self.url)
        if text is None:
            return None
        return self._found(text) if self.pattern is not None else self._pointed(text)

    def _found(self, text: str) -> Optional[float]:
        """Take the last one of a log, and the sum of a page's: each instance of a model tells its own."""
        numbers = [_number(match.group(1)) for match in re.finditer(str(self.pattern), text, re.MULTILINE)]
        if not numbers or None in numbers:
            return None
        known = [number for number in numbers if number is not None]
        return known[-1] if self.url is None else sum(known)

    def _pointed(self, text: str) -> Optional[float]:
        try:
            found: JsonValue = json.loads(text)
        except ValueError:
            return None
        for step in str(self.pointer).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                return None
        return None if isinstance(found, (bool, dict, list)) or found is None else _number(str(found))


def parse_reading(raw: JsonMapping, key: str) -> Reading:
    """Read {"url", "pattern"}, {"url", "pointer"} or {"log": true, "pattern"}."""
    source = values.mapping(raw, key)
    values.only(source, key, frozenset({"url", "log", "pattern", "pointer"}))
    if (source.get("url") is None) == (not values.flag(source, "log", default=False)):
        raise BadRequest(f'{key} must have either "url" or "log": true, one of the two: where the number is read.')
    url = None if source.get("url") is None else local_url(source, "url")
    pattern, pointer = values.optional_text(source, "pattern"), values.optional_text(source, "pointer")
    if (pattern is None) == (pointer is None) or (pointer is not None and url is None):
        raise BadRequest(f"{key} must have either a pattern, or with a url a JSON pointer, one of the two.")
    if pointer is not None and not pointer.startswith("/"):
        raise BadRequest(f'{key}.pointer must be a JSON pointer such as "/cache/blocks", not {pointer!r}.')
    if pattern is not None:
        _check_pattern(pattern, key)
    return Reading(url, pattern, pointer)


def local_url(source: JsonMapping, key: str) -> str:
    """Read an http address of this host itself: the agent asks nobody else."""
    url = values.text(source, key)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"{key} must be an address such as http://127.0.0.1:8002/metrics, not {url!r}.") from error
    if parts.scheme != "http" or parts.hostname not in _OURSELVES or parts.username is not None:
        raise BadRequest(
            f"{key} must begin with http://127.0.0.1, http://[::1] or http://localhost, not {url!r}: the agent asks "
            "services of its own host only."
        )
    if port is None:
        raise BadRequest(f"{key} must name the port, as in http://127.0.0.1:8002/metrics, not {url!r}.")
    return url


def answers(url: str) -> bool:
    """Tell whether it answers 200 now."""
    return _get(url) is not None


def _check_pattern(pattern: str, key: str) -> None:
    try:
        groups = re.compile(pattern, re.MULTILINE).groups
    except re.error as error:
        raise BadRequest(f"{key}.pattern is no regular expression: {error}.") from error
    if groups != 1:
        raise BadRequest(f"{key}.pattern must have one group, around the number; {pattern!r} has {groups}.")


def _get(url: str) -> Optional[str]:
    """Ask once; None where it does not answer 200 in time."""
    import http.client  # noqa: PLC0415 (20 ms, and only these faults need it)

    parts, end_s = urlsplit(url), time.monotonic() + _ANSWERS_WITHIN_S
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWERS_WITHIN_S)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}")
        response = connection.getresponse()
        content = b""
        while time.monotonic() < end_s and len(content) <= _LARGEST_BYTES:
            chunk = response.read1(_CHUNK)
            if not chunk:
                return content.decode(errors="replace") if response.status == _OK else None
            content += chunk
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return None


def _number(text: str) -> Optional[float]:
    try:
        return float(text.replace(",", ""))  # vLLM writes 27,584
    except ValueError:
        return None
