# SPDX-License-Identifier: Apache-2.0
"""What of a host is not as it was: two JSON documents compared leaf by leaf."""

from collections.abc import Iterator

from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["differences"]

_ABSENT = object()


def differences(before: JsonValue, after: JsonValue) -> list[JsonValue]:
    """Return each leaf that differs, by its JSON pointer; one that is not there has no `before` or no `after`."""
    return list(_walk("", before, after))


def _walk(path: str, before: object, after: object) -> Iterator[JsonObject]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            escaped = str(key).replace("~", "~0").replace("/", "~1")
            yield from _walk(f"{path}/{escaped}", before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            old = before[place] if place < len(before) else _ABSENT
            yield from _walk(f"{path}/{place}", old, after[place] if place < len(after) else _ABSENT)
    elif type(before) is not type(after) or before != after:
        found: JsonObject = {"path": path}
        found |= {"before": before} if before is not _ABSENT else {}  # type: ignore[dict-item]  # JSON, as it came
        found |= {"after": after} if after is not _ABSENT else {}  # type: ignore[dict-item]  # likewise
        yield found
