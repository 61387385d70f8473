# SPDX-License-Identifier: Apache-2.0
"""What files in a bundle may be called: names that no shell, no other file system and no archive reads differently."""

import re

__all__ = ["is_plain", "plain_name", "shown"]

# A segment never begins with a dot or a dash, so there is neither `..`, nor a hidden file, nor an option.
_SEGMENT = r"[A-Za-z0-9_=@][A-Za-z0-9_=@+.,-]{0,120}"
_PLAIN = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,7}}")
_KEPT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@+.,-")
_NOT_FIRST = frozenset("+.,-")


def is_plain(path: str) -> bool:
    """Tell whether a path may stand in a bundle."""
    return _PLAIN.fullmatch(path) is not None


def shown(path: str) -> str:
    """Write a name that somebody else chose so that a terminal only shows it."""
    return path if is_plain(path) else repr(path)


def plain_name(path: str) -> str:
    """Write a path so that it may: what is not plain becomes `=` and its bytes in hexadecimal digits."""
    return "/".join(_segment(segment) for segment in path.split("/"))


def _segment(segment: str) -> str:
    return "".join(
        sign
        if sign in _KEPT and (place or sign not in _NOT_FIRST)
        else "".join(f"={byte:02X}" for byte in sign.encode())
        for place, sign in enumerate(segment)
    )
